/**
 * What a receiver remembers of one source between runs: how far it has read each stream, and what it last agreed on per
 * path. Files, below `receive/<workspace id>/`:
 *
 *   ancestor.ndjson  one line per agreement, `<crc32 hex> <json>`; the last line of a path counts; a torn tail is ignored;
 *                    sealed line by line where the log is encrypted, since it has names
 *   cursor.json      one such line: the last sequence number applied of each stream, and versions skipped
 *   lock             pid of the receiver that uses the directory
 *
 * Losing all of it is safe: what stands on disk already is found equal by content.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openLines, sealLines } from '../crypto/sealed-lines.ts';

/** What was last agreed on at a path. */
export interface Agreed {
  /** State, as `keyOf` names it. */
  readonly key: string;
  /** Version it came from, in the source. */
  readonly version: string;
  /** Last version of the path in our own log at that time; `''` when there was none. */
  readonly ownAt: string;
  /** Increases with each agreement, over all sources of a receiver. */
  readonly n: number;
  /** The state was seen and lost against what stands on disk: it was never put there. */
  readonly refused?: boolean;
}

/** Whether two agreements say the same. */
export function sameAgreement(a: Omit<Agreed, 'n'> | undefined, b: Omit<Agreed, 'n'>): boolean {
  return (
    a?.key === b.key && a.version === b.version && a.ownAt === b.ownAt && (a.refused === true) === (b.refused === true)
  );
}

type Line = [path: PathName, key: string, version: string, ownAt: string, n: number, refused?: true];

function lineOf(path: PathName, { key, version, ownAt, n, refused }: Agreed): Line {
  return refused === true ? [path, key, version, ownAt, n, true] : [path, key, version, ownAt, n];
}

function frame(value: unknown): string {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

function unframe(line: string): unknown {
  const json = line.slice(9);
  if (line[8] !== ' ' || parseInt(line.slice(0, 8), 16) !== crc32(json)) {
    return undefined;
  }
  return JSON.parse(json);
}

/** Makes the entries of a directory durable. */
export async function syncDirectory(path: string | Buffer): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Replaces a file so that after a crash it is the old or the new one. */
async function replaceFile(dir: string, name: string, text: string): Promise<void> {
  const temporary = join(dir, `${name}.new`);
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(dir, name));
  await syncDirectory(dir);
}

/** Directories in use by receivers of this process. */
const inUse = new Set<string>();

/** Takes `lock` in `dir`. Throws LOG_LOCKED when another live process, or another receiver of this one, holds it. */
async function takeLock(dir: string): Promise<void> {
  const path = join(dir, 'lock');
  for (let attempt = 0; attempt < 5; attempt += 1) {
    if (inUse.has(dir)) {
      throw new SyftError(
        'LOG_LOCKED',
        `Another receiver of this process (pid ${process.pid}) already applies this log here.`
      );
    }
    try {
      await writeFile(path, `${process.pid}\n`, { flag: 'wx', mode: 0o600 });
      inUse.add(dir);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') {
        throw error;
      }
    }
    const pid = Number((await readFile(path, 'utf8').catch(() => '')).trim());
    if (pid !== process.pid && pid > 0 && isAlive(pid)) {
      throw new SyftError('LOG_LOCKED', `Another receiver (pid ${pid}) already applies this log here. Stop it first.`);
    }
    await rm(path, { force: true });
  }
  throw new SyftError('LOG_LOCKED', 'Another receiver is starting here. Try again.');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** With what the memory is sealed. */
export interface StateSeal {
  readonly keys: LogKeys;
  /** The directory, below that of the log. */
  readonly name: string;
}

/** The memory of one source. */
export class ReceiveState {
  readonly dir: string;
  readonly agreed = new Map<PathName, Agreed>();
  /** Last sequence number applied, per device. */
  readonly streams = new Map<string, number>();
  /** Versions that could not be applied and are tried again at the next start. */
  readonly skipped = new Set<string>();
  #journal: FileHandle | undefined;
  readonly #seal: StateSeal | undefined;
  #lines = 0;
  #saved = '';
  /** What the last append left is not known: the next one writes the journal anew. */
  #doubtful = false;

  private constructor(dir: string, seal: StateSeal | undefined) {
    this.dir = dir;
    this.#seal = seal;
  }

  /**
   * Loads the memory, which may be absent.
   *
   * @param options `seal`: with what the journal is sealed; what cannot be opened with it counts as absent.
   * @throws SyftError LOG_LOCKED when another receiver uses it.
   */
  static async open(dir: string, options: { readOnly?: boolean; seal?: StateSeal } = {}): Promise<ReceiveState> {
    const state = new ReceiveState(dir, options.seal);
    if (options.readOnly !== true) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await takeLock(dir);
    }
    try {
      await state.#load();
      if (options.readOnly !== true) {
        // Rewritten whole: a torn tail must not swallow the line after it, and old lines go.
        await state.#compact();
      }
    } catch (error) {
      if (options.readOnly !== true) {
        await state.close();
      }
      throw error;
    }
    return state;
  }

  async #load(): Promise<void> {
    const stored = await readFile(join(this.dir, 'ancestor.ndjson'), 'utf8').catch(absent);
    const text = this.#seal === undefined ? stored : openLines(this.#seal.keys, this.#journalName, stored);
    for (const line of text.split('\n')) {
      const value = line === '' ? undefined : unframe(line);
      if (value === undefined) {
        continue;
      }
      const [path, key, version, ownAt, n, refused] = value as Line;
      this.agreed.set(path, { key, version, ownAt, n, ...(refused === true && { refused }) });
    }
    this.#saved = await readFile(join(this.dir, 'cursor.json'), 'utf8').catch(absent);
    const cursor = this.#saved === '' ? undefined : unframe(this.#saved.trimEnd());
    if (cursor !== undefined) {
      const { streams, skipped } = cursor as { streams: Record<string, number>; skipped: string[] };
      for (const [device, seq] of Object.entries(streams)) {
        this.streams.set(device, seq);
      }
      for (const version of skipped) {
        this.skipped.add(version);
      }
    }
  }

  get #journalName(): string {
    return `${this.#seal?.name ?? ''}/ancestor.ndjson`;
  }

  /** Lines as they are written. */
  #stored(text: string): string {
    return this.#seal === undefined ? text : sealLines(this.#seal.keys, this.#journalName, text);
  }

  async #compact(): Promise<void> {
    let text = '';
    for (const [path, agreed] of this.agreed) text += frame(lineOf(path, agreed));
    await this.#journal?.close();
    this.#journal = undefined;
    await replaceFile(this.dir, 'ancestor.ndjson', this.#stored(text));
    this.#journal = await open(join(this.dir, 'ancestor.ndjson'), 'a', 0o600);
    this.#lines = this.agreed.size;
    this.#doubtful = false;
  }

  /** Remembers agreements. Durable when it resolves. */
  async agree(entries: readonly (readonly [PathName, Agreed])[]): Promise<void> {
    let text = '';
    let lines = 0;
    for (const [path, agreed] of entries) {
      if (sameAgreement(this.agreed.get(path), agreed)) continue;
      this.agreed.set(path, agreed);
      text += frame(lineOf(path, agreed));
      lines += 1;
    }
    if (lines === 0) {
      return;
    }
    this.#lines += lines;
    if (this.#doubtful || this.#lines > 10_000 + 3 * this.agreed.size) {
      await this.#compact();
      return;
    }
    this.#doubtful = true;
    await this.#journal?.appendFile(this.#stored(text));
    await this.#journal?.datasync();
    this.#doubtful = false;
  }

  /** Remembers how far each stream has been applied. Durable when it resolves. */
  async advance(streams: ReadonlyMap<string, number>): Promise<void> {
    for (const [device, seq] of streams) {
      this.streams.set(device, Math.max(seq, this.streams.get(device) ?? 0));
    }
    const text = frame({ streams: Object.fromEntries([...this.streams].sort()), skipped: [...this.skipped].sort() });
    if (text !== this.#saved) {
      await replaceFile(this.dir, 'cursor.json', text);
      this.#saved = text;
    }
  }

  /** Gives the directory free. */
  async close(): Promise<void> {
    await this.#journal?.close();
    this.#journal = undefined;
    if (inUse.delete(this.dir)) {
      await rm(join(this.dir, 'lock'), { force: true });
    }
  }
}

function absent(error: unknown): string {
  if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
    return '';
  }
  throw error;
}
