/**
 * What a user was told is recorded must be there after any crash (docs/format.md, F-1). The real recorder is killed at random
 * moments, while it starts, scans and records, under a writer that never rests.
 */
import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { changeToJson, type Change } from '../../../server/src/core/change.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import { CommandLine, Watch } from '../cli/run.ts';
import { sha256 } from './scratch.ts';

/** In `npm test` half of those that a release is held to. */
const KILLS = Number(process.env['SYFT_CRASH_KILLS'] ?? 100);
const FILES = 300;

/** Changes files for as long as it lives: in place, by rename, with deletions, moves and new directories. */
class Writer {
  readonly #root: string;
  /** How to make every content that was ever written whole, by its hash: themselves they would be gigabytes. */
  readonly #written = new Map<string, { n: number; times: number }>();
  readonly #random: () => number;
  #running = true;
  readonly done: Promise<void>;
  n = 0;

  constructor(root: string, seed: number) {
    this.#root = root;
    let state = seed;
    this.#random = () => (state = (state * 48271) % 2147483647) / 2147483647;
    this.done = this.#run();
  }

  #path(): string {
    const i = Math.floor(this.#random() * FILES);
    return join(this.#root, `d${i % 11}`, i % 3 === 0 ? `deep/e${i % 5}/f${i}` : `f${i}`);
  }

  #content(): string {
    const times = 1 + Math.floor(this.#random() ** 4 * 5_000);
    const content = `${this.n} `.repeat(times);
    this.#written.set(sha256(content), { n: this.n, times });
    return content;
  }

  /** The content with a hash; `undefined` when none was written whole. */
  written(hash: string): string | undefined {
    const made = this.#written.get(hash);
    return made === undefined ? undefined : `${made.n} `.repeat(made.times);
  }

  #step(): void {
    this.n += 1;
    const path = this.#path();
    const what = this.#random();
    mkdirSync(join(path, '..'), { recursive: true });
    if (what < 0.5) {
      writeFileSync(path, this.#content());
    } else if (what < 0.8) {
      writeFileSync(`${path}.tmp`, this.#content());
      renameSync(`${path}.tmp`, path);
    } else if (what < 0.9) {
      rmSync(path, { force: true });
    } else {
      const to = this.#path();
      mkdirSync(join(to, '..'), { recursive: true });
      writeFileSync(path, this.#content());
      renameSync(path, to);
    }
  }

  async #run(): Promise<void> {
    while (this.#running) {
      for (let i = 0; i < 2; i += 1) this.#step();
      await sleep(8);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.done;
  }
}

/** Every file below a directory, but for the log. */
function filesOf(root: string, at = ''): string[] {
  return readdirSync(join(root, at), { withFileTypes: true }).flatMap(entry => {
    const path = at === '' ? entry.name : `${at}/${entry.name}`;
    if (path === '.syft-sync') return [];
    return entry.isDirectory() ? filesOf(root, path) : [path];
  });
}

test(`killed ${KILLS} times during heavy change, every acknowledged change is there, byte for byte`, async () => {
  const base = mkdtempSync(join(tmpdir(), 'syft-sync-crash-'));
  const root = join(base, 'root');
  const dir = join(root, '.syft-sync');
  mkdirSync(root);
  const cli = new CommandLine(root, join(base, 'home'));
  // A process that is killed leaves nothing compiled for the next.
  mkdirSync(join(base, 'before'));
  const before = new Watch(new CommandLine(join(base, 'before'), join(base, 'home')).spawn(['--json', 'watch']));
  await before.until(line => line['ready'] === true);
  await before.end();
  const writer = new Writer(root, 20_261_125);
  const acknowledged = new Map<string, Record<string, unknown>>();
  let whileStarting = 0;
  try {
    for (let round = 0; round < KILLS; round += 1) {
      const watch = new Watch(cli.spawn(['--json', 'watch']));
      if (round % 4 !== 0) await watch.until(line => line['ready'] === true);
      await sleep(Math.random() * (round % 4 === 0 ? 500 : 250));
      const closed = once(watch.child, 'close');
      watch.child.kill('SIGKILL');
      await closed;
      expect(watch.stderr).toBe('');
      if (!watch.lines.some(line => line['ready'] === true)) whileStarting += 1;
      for (const line of watch.lines) {
        if (typeof line['versionId'] === 'string') acknowledged.set(line['versionId'], line);
      }
    }
    await writer.stop();

    // One more start, which is closed cleanly: what is on disk now is what the log has.
    await cli.ok('capture');
    const found = new Map<string, Change>();
    const log = await openLogReader({ dir, onDamage: damage => expect(damage).toBeUndefined() });
    for await (const change of log.changes()) found.set(changeToJson(change).versionId, change);
    let bytewise = 0;
    for (const [id, line] of acknowledged) {
      const change = found.get(id);
      if (change === undefined) throw new Error(`${id} was acknowledged and is not there: ${JSON.stringify(line)}`);
      expect(changeToJson(change)).toEqual(line);
      if (change.content === undefined || change.hash === undefined) continue;
      const bytes = await log.contentBytes(change);
      expect(sha256(bytes)).toBe(change.hash);
      const written = writer.written(change.hash);
      if (written === undefined) continue;
      if (bytes.toString() !== written) throw new Error(`${id} is not what was written`);
      bytewise += 1;
    }
    await log.close();
    const damages = [];
    for await (const damage of fsckLog(dir, { readData: true })) damages.push(damage);
    expect(damages).toEqual([]);
    const tree = new Map((await cli.ok('tree')).map(line => [line['path'] as string, line['hash'] as string]));
    const disk = filesOf(root).sort();
    expect([...tree.keys()].filter(path => tree.get(path) !== undefined).sort()).toEqual(disk);
    for (const path of disk) expect(tree.get(path)).toBe(`sha256:${sha256(readFileSync(join(root, path)))}`);
    expect(await cli.ok('capture')).toMatchObject([{ captured: 0, deleted: 0 }]);
    // That it was not all in vain.
    expect(bytewise).toBeGreaterThan(2 * KILLS);
    expect(whileStarting).toBeGreaterThan(KILLS / 20);
  } finally {
    await writer.stop();
    rmSync(base, { recursive: true, force: true });
  }
}, 1_800_000);
