/**
 * Repairs what can be made anew from the rest of a log: tiles, checkpoint, `head.json`, `.gitignore`. Deletes nothing: what it
 * replaces, and what does not belong there, moves into `quarantine/` with a note. Segments are never touched: whatever can be read
 * in them can be read afterwards.
 */
import { cpSync, existsSync, lstatSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { levelWidth, TileTree } from '../core/merkle.ts';
import { configurationDirectory, deviceId, deviceKey, type DeviceKey } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { makePrivateDirectory, replaceFile, syncDirectory } from '../storage/durable.ts';
import { CHECKPOINT_FILE, readCheckpoint, signCheckpoint, streamKey } from './checkpoint.ts';
import { checkKeys, GITIGNORE, readFormatFile } from './format-file.ts';
import { fsckLog } from './fsck.ts';
import { encodeHead, readHead } from './head.ts';
import { FLAG_CLOSE, frameLength } from './layout.ts';
import { WriterLock } from './lock.ts';
import { holds } from './own-stream.ts';
import { Remembered } from './remembered.ts';
import { Stream, streamStart, type Frame } from './stream.ts';
import { StreamTree } from './stream-tree.ts';
import { FILE_HASHES, FULL_TILE_FILE } from './tile-files.ts';
import { DiskTiles } from './disk-tiles.ts';
import type { Damage } from './types.ts';

/** One thing that was done. */
export interface Repair {
  /** `moved` into quarantine, or `written` anew. */
  readonly did: 'moved' | 'written';
  /** Relative to the log. */
  readonly where: string;
  readonly why: string;
}

export interface RepairOptions {
  /** The user's configuration. */
  readonly configDir?: string;
  readonly command?: string;
  /** Of an encrypted log. */
  readonly keys?: LogKeys | undefined;
}

/** Damage of a stream's records that nothing can derive, and under which nothing may be signed anew. */
const REWRITTEN = new Set(['edited', 'fork', 'rollback', 'truncated', 'chain', 'sequence']);

/** The tree of a stream from its records, with the hashes that tiles have of those that are lost. */
function grow(stream: Stream): [DiskTiles, TileTree] {
  const disk = new DiskTiles(stream.dir);
  const tree = new TileTree(disk.options);
  new StreamTree(stream, tree).advance();
  return [disk, tree];
}

class Repairer {
  readonly #dir: string;
  readonly #configDir: string;
  readonly #keys: LogKeys | undefined;
  readonly #done: Repair[] = [];

  constructor(dir: string, configDir: string, keys: LogKeys | undefined) {
    this.#keys = keys;
    this.#dir = dir;
    this.#configDir = configDir;
  }

  /** Moves a file into quarantine; `copy`: it is replaced in place afterwards, and must not be missing in between. */
  #aside(where: string, why: string, copy = false): void {
    const from = join(this.#dir, where);
    if (lstatSync(from, { throwIfNoEntry: false }) === undefined) return;
    let to = join(this.#dir, 'quarantine', where);
    for (let n = 1; existsSync(to) || existsSync(`${to}.why.json`); n += 1) {
      to = join(this.#dir, 'quarantine', dirname(where), `${n}-${basename(where)}`);
    }
    makePrivateDirectory(dirname(to));
    const note = { file: where, why, when: new Date().toISOString() };
    replaceFile(`${to}.why.json`, Buffer.from(`${JSON.stringify(note, null, 1)}\n`));
    if (copy) cpSync(from, to, { recursive: true });
    else renameSync(from, to);
    syncDirectory(dirname(to));
    if (!copy) syncDirectory(dirname(from));
    this.#done.push({ did: 'moved', where, why });
  }

  #write(where: string, bytes: Buffer, why: string): void {
    makePrivateDirectory(dirname(join(this.#dir, where)));
    this.#aside(where, why, true);
    replaceFile(join(this.#dir, where), bytes);
    this.#done.push({ did: 'written', where, why });
  }

  async run(damages: readonly Damage[]): Promise<Repair[]> {
    for (const { kind, where, message } of damages) {
      if (kind === 'unknown-file') this.#aside(where, message);
      if (where === '.gitignore') this.#write(where, GITIGNORE, message);
    }
    const devices = new Set(damages.flatMap(({ where }) => /^log\/([a-z2-7]{8})\//.exec(where)?.[1] ?? []));
    for (const device of devices) {
      await this.#stream(
        device,
        damages.filter(({ where }) => where === `log/${device}` || where.startsWith(`log/${device}/`))
      );
    }
    return this.#done;
  }

  async #stream(device: string, damages: readonly Damage[]): Promise<void> {
    const { workspace } = readFormatFile(this.#dir);
    const at = (name: string): string => `log/${device}/${name}`;
    const streamDir = join(this.#dir, 'log', device);
    const rewritten = damages.some(({ kind }) => REWRITTEN.has(kind));
    const stream = new Stream(streamDir, device, {
      workspace,
      config: () => undefined,
      nextNumber: () => 0,
      onDamage: () => undefined,
      keys: this.#keys
    });
    try {
      stream.discover();
      const about = (name: string): Damage | undefined => damages.find(({ where }) => where === at(name));
      const tiles = damages.filter(({ where }) => where.startsWith(at('tile')));
      const lost = about(CHECKPOINT_FILE);
      const key = this.#key(device, workspace);
      // Where records are known to be other than the signed ones, tiles and checkpoint are the evidence.
      if (!rewritten && (tiles.length > 0 || lost !== undefined)) {
        await this.#tree(stream, device, workspace, tiles, lost, key);
      }
      const head = about('head.json');
      if (head !== undefined && !rewritten) this.#head(stream, at('head.json'), head.message, workspace, device);
    } finally {
      stream.close();
    }
  }

  #key(device: string, workspace: string): DeviceKey | undefined {
    for (let number = 1; number < 100; number += 1) {
      const file = number === 1 ? 'device-key.pem' : `device-key-${number}.pem`;
      if (!existsSync(join(this.#configDir, file)) && !existsSync(join(this.#dir, 'keys', file))) return undefined;
      const key = deviceKey(this.#configDir, join(this.#dir, 'keys'), number);
      if (deviceId(key.publicKey, workspace) === device) return key;
    }
    return undefined;
  }

  /** A file with many tiles, of which some are sound: where records are lost, nothing else has their hashes. */
  #mayStay(where: string, size: number): boolean {
    const [, level, number] = /\/tile\/(\d+)\/(\d+)\.tiles$/.exec(where) ?? [];
    if (number === undefined || Number(number) * FILE_HASHES >= levelWidth(size, Number(level))) return false;
    const found = lstatSync(join(this.#dir, where), { throwIfNoEntry: false });
    return found?.isFile() === true && found.size <= FULL_TILE_FILE;
  }

  async #tree(
    stream: Stream,
    device: string,
    workspace: string,
    tiles: readonly Damage[],
    lost: Damage | undefined,
    key: DeviceKey | undefined
  ): Promise<void> {
    const publicKey = key?.publicKey ?? streamKey(stream.dir, workspace, device);
    const signed = publicKey === undefined ? undefined : readCheckpoint(stream.dir, workspace, device, publicKey);
    const memories = new Remembered(this.#configDir, workspace).all().filter(memory => memory.device === device);
    const claims = [signed, ...memories.map(memory => memory.checkpoint)].flatMap(claim => claim ?? []);
    const kept: string[] = [];
    for (const { kind, where, message } of tiles) {
      if (kind === 'missing') continue;
      const stays = this.#mayStay(where, signed?.size ?? 0);
      this.#aside(where, message, stays);
      if (stays) kept.push(join(this.#dir, where));
    }
    let [disk, tree] = grow(stream);
    // What a damaged file has of records that are lost is believed only where a checkpoint bears it out.
    if (kept.length > 0 && !claims.every(claim => holds(tree, claim))) {
      for (const path of kept) rmSync(path, { force: true });
      [disk, tree] = grow(stream);
    }
    // Never a second history: what was signed once must be in what is written now.
    if (!claims.every(claim => holds(tree, claim))) return;
    if (signed === undefined && key === undefined) return;
    const size = signed?.size ?? tree.size;
    if (size === 0) return;
    await disk.flush(tree, size);
    disk.cut(size);
    for (const { where, message } of tiles) this.#done.push({ did: 'written', where, why: message });
    if (lost !== undefined && signed === undefined && key !== undefined) {
      const { note } = signCheckpoint(workspace, device, size, tree.root(size), key);
      this.#write(`log/${device}/${CHECKPOINT_FILE}`, Buffer.from(note), lost.message);
    }
  }

  #head(stream: Stream, where: string, why: string, workspace: string, device: string): void {
    let last: Frame | undefined;
    for (const frame of stream.walk(streamStart())) last = frame;
    const present = readHead(stream.dir);
    if (last === undefined || (present !== undefined && present !== 'damaged')) return;
    const key = streamKey(stream.dir, workspace, device);
    const signed = key === undefined ? undefined : readCheckpoint(stream.dir, workspace, device, key);
    const { header, offset, segment } = last;
    const head = encodeHead({
      segment: segment.name,
      length: offset + frameLength(header),
      seq: header.firstSeq + header.count - 1,
      chain: header.chain.toString('hex'),
      closed: (header.flags & FLAG_CLOSE) !== 0,
      ...(signed !== undefined && { tree: signed.size })
    });
    this.#write(where, head, why);
  }
}

/**
 * Repairs a log: checks it, and makes anew what can be.
 *
 * @param dir Log directory.
 * @returns What was done; nothing when there was nothing to do. What is still damaged, fsck says.
 * @throws SyftError LOG_LOCKED while something records, LOG_MISSING, LOG_DAMAGED (format.json), DISK_*.
 */
export async function repairLog(dir: string, options: RepairOptions = {}): Promise<Repair[]> {
  const keys = checkKeys(dir, readFormatFile(dir), options.keys);
  const configDir = options.configDir ?? configurationDirectory();
  const lock = await WriterLock.acquire(dir, { command: options.command ?? 'fsck --repair' });
  try {
    const damages: Damage[] = [];
    for await (const damage of fsckLog(dir, {
      readData: false,
      configDir,
      ...(keys !== undefined && { masters: keys })
    })) {
      damages.push(damage);
    }
    return await new Repairer(dir, configDir, keys).run(damages);
  } finally {
    lock.release();
  }
}
