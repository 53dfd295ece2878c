/**
 * Runs a hint source, or a recorder, in a process that can be stopped: `hints-child.ts source|recorder NAME BASE`. What is
 * reported is printed, one JSON object a line. A line `FILE VALUE` on standard input writes VALUE to FILE, for limits that
 * only this process sees.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createHintSource } from '../../../../server/src/capture/hints/registry.ts';
import { Recorder } from '../../../../server/src/capture/recorder.ts';
import { openLogWriter } from '../../../../server/src/log/log.ts';

const [, , what = '', name = '', base = '', ...limits] = process.argv;
const root = join(base, 'root');
const print = (value: object): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};
const set = (line: string): void => {
  const [file = '', value = ''] = line.split(' ');
  writeFileSync(file, value);
};
for (const limit of limits) set(limit.replace('=', ' '));
createInterface({ input: process.stdin })
  .on('line', set)
  .on('close', () => process.exit(0));

if (what === 'source') {
  const source = await createHintSource(name, root);
  await source?.start(
    { root, excludePatterns: [], include: undefined, logPath: undefined },
    {
      paths: paths => {
        print({ paths });
      },
      directories: paths => {
        print({ paths });
      },
      lost: lost => {
        print({ lost });
      },
      health: (healthy, detail) => {
        print({ healthy, detail });
      }
    }
  );
} else {
  const logDir = join(base, 'log');
  const log = await openLogWriter({ dir: logDir, keyDir: join(base, 'keys') });
  const recorder = await Recorder.open({
    root,
    log,
    logDir,
    cacheDir: join(base, 'cache'),
    hints: name,
    // So late that no scan comes but for a reason.
    scanIntervalMs: 3_600_000
  });
  recorder.on('change', ({ path, hash }) => {
    print({ recorded: path, hash });
  });
  recorder.on('status', ({ watcher: { healthy, detail } }) => {
    print({ healthy, detail });
  });
  await recorder.start();
}
print({ ready: true });
