/**
 * A fetch on a disk that fails: strace kills it at, or makes fail, system calls with which it writes its copy. What was fetched before
 * may be the last that there is, so it stays; and the next fetch brings the rest.
 *
 * `npm test` tries some of the calls; SYFT_FAULTS=all tries each with each fault.
 */
import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { versionId } from '../../../server/src/core/change.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { FetchedLog } from '../../../server/src/sync/fetch.ts';
import { ownPlace } from '../library/place.ts';
import { version } from '../log/scratch.ts';
import {
  injecting,
  readTrace,
  site,
  straceProblem,
  TRACEABLE,
  tracing,
  wasReached,
  type Fault
} from '../log/strace.ts';
import { COMPILED, program } from '../program.ts';

const at = ownPlace('copy');
const CHILD = program('fetch-child');
const ALL = process.env['SYFT_FAULTS'] === 'all';
const FAULTS: readonly Fault[] = ['KILL', 'EIO', 'ENOSPC'];
const SAMPLE = 10;

/** Adds versions to the log, and brings all of it into the storage: files of a log are what a storage has as objects. */
async function record(round: number): Promise<void> {
  const log = await openLogWriter({ dir: at('log'), keyDir: at('home') });
  for (const path of ['a', 'b']) await log.append([version(log, path, `${path}${round} `.repeat(3000))]);
  await log.close();
  for (const name of ['format.json', 'log']) cpSync(at('log', name), at('bucket', name), { recursive: true });
}

async function contents(dir: string): Promise<Map<string, string>> {
  const reader = await openLogReader({ dir });
  const found = new Map<string, string>();
  try {
    for await (const change of reader.changes()) {
      found.set(versionId(change), (await reader.contentBytes(change)).toString());
    }
    return found;
  } finally {
    await reader.close();
  }
}

function fetchUnder(command: readonly string[]): string {
  const [executable = '', ...rest] = [...command, process.execPath, CHILD];
  const done = spawnSync(executable, [...rest, at('bucket'), at('copy')], {
    encoding: 'utf8',
    env: { ...process.env, ...TRACEABLE, NODE_COMPILE_CACHE: COMPILED }
  });
  return done.stdout.trim();
}

const problem = straceProblem();
(problem === undefined ? test : test.skip)(
  'whatever call a fetch fails or dies at, nothing that was fetched is lost, and the next one has all',
  async () => {
    await record(0);
    rmSync(at('copy'), { recursive: true });
    expect(fetchUnder([])).toBe('done');
    cpSync(at('copy'), at('before'), { recursive: true });
    const before = await contents(at('before'));
    await record(1);
    const recorded = await contents(at('log'));
    expect([before.size, recorded.size]).toEqual([2, 4]);

    for (const start of ['before', undefined] as const) {
      const fresh = (): void => {
        rmSync(at('copy'), { recursive: true, force: true });
        if (start === undefined) mkdirSync(at('copy'));
        else cpSync(at(start), at('copy'), { recursive: true });
      };
      fresh();
      expect(fetchUnder(tracing(at('trace')))).toBe('done');
      const calls = readTrace(at('trace'), at('copy')).filter(call => !call.reads && call.name !== 'close');
      expect(calls.length).toBeGreaterThan(20);
      const stride = ALL ? 1 : Math.ceil(calls.length / SAMPLE);
      for (const [i, call] of calls.entries()) {
        if (i % stride !== 0) continue;
        for (const fault of ALL ? FAULTS : [FAULTS[(i / stride) % 3] as Fault]) {
          fresh();
          const said = fetchUnder(injecting(at('trace'), at('copy'), call, fault));
          const where = `${fault} at ${site(call)}: ${said}`;
          expect(`${where} ${String(wasReached(readTrace(at('trace'), at('copy')), call, fault))}`).toBe(
            `${where} true`
          );
          // It says so, but where only what is made anew was touched.
          if (fault === 'KILL') expect(`${where}`).toBe(`KILL at ${site(call)}: `);
          else if (said !== 'done') expect(said).toBe(`error ${fault}`);
          const devices = existsSync(at('copy/log')) ? readdirSync(at('copy/log')) : [];
          if (devices.some(device => existsSync(at('copy/log', device, 'head.json')))) {
            expect([where, await Array.fromAsync(fsckLog(at('copy'), { readData: true }))]).toEqual([where, []]);
          }
          if (start !== undefined) {
            const left = await contents(at('copy'));
            for (const [id, content] of before) expect([where, left.get(id) === content]).toEqual([where, true]);
          }
          const again = new FetchedLog(new FsStorage(at('bucket')), at('copy'));
          await again.fetch();
          again.close();
          expect([where, await Array.fromAsync(fsckLog(at('copy'), { readData: true }))]).toEqual([where, []]);
          expect(await contents(at('copy'))).toEqual(recorded);
        }
      }
    }
  },
  ALL ? 1_200_000 : 120_000
);
