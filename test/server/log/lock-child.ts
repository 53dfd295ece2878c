/** Opens a log and says what came of it; holds it until its standard input ends. */
import { openLogWriter } from '../../../server/src/log/log.ts';
import { SyftError } from '../../../server/src/core/errors.ts';

const [, , dir = '', keyDir = ''] = process.argv;
try {
  const log = await openLogWriter({ dir, keyDir, holder: { command: 'test' } });
  process.stdout.write('held\n');
  process.stdin.resume();
  process.stdin.once('end', () => {
    void log.close().then(() => process.exit(0));
  });
} catch (error) {
  process.stdout.write(`${error instanceof SyftError ? `${error.code} ${error.message}` : String(error)}\n`);
  process.exit(3);
}
