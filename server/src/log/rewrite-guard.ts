/**
 * Watches whether a log is still the one that was seen before: for receivers, who must not take a rewritten history for new
 * changes. Reads the log by itself, frame by frame as it grows, and remembers the checkpoints that it has found to hold.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TileTree } from '../core/merkle.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { readCheckpoint, streamKey, type Checkpoint } from './checkpoint.ts';
import { checkKeys, readFormatFile } from './format-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { holds, rewritten } from './own-stream.ts';
import { placeOf, Remembered } from './remembered.ts';
import { Stream } from './stream.ts';
import { StreamTree } from './stream-tree.ts';
import type { Damage } from './types.ts';

const DEVICE = /^[a-z2-7]{8}$/;

interface Watched {
  readonly stream: Stream;
  readonly grown: StreamTree;
  /** The segments as they were when last read: `<device>:<inode>` of the file, and its size. */
  readonly files: Map<string, { readonly file: string; readonly size: number }>;
}

export class RewriteGuard {
  readonly #logDir: string;
  readonly #workspace: string;
  readonly #remembered: Remembered;
  readonly #place: string;
  readonly #keys: LogKeys | undefined;
  readonly #streams = new Map<string, Watched>();
  #replaced = false;

  /**
   * @param logDir The log.
   * @param configDir The user's configuration.
   * @param keys Of an encrypted log.
   * @throws SyftError LOG_MISSING, LOG_DAMAGED, LOG_NEWER_FORMAT, LOG_ENCRYPTED, KEY_MISMATCH.
   */
  constructor(logDir: string, configDir: string, keys?: LogKeys) {
    this.#logDir = logDir;
    const format = readFormatFile(logDir);
    this.#workspace = format.workspace;
    this.#keys = checkKeys(logDir, format, keys);
    this.#remembered = new Remembered(configDir, this.#workspace);
    this.#place = placeOf(logDir);
  }

  #watched(device: string): Watched {
    let watched = this.#streams.get(device);
    // What was read is no longer what is there: a log that is put back keeps its names. It is read from the beginning.
    if (watched !== undefined && !unreplaced(watched)) {
      watched.stream.close();
      watched = undefined;
      this.#replaced = true;
    }
    if (watched === undefined) {
      const stream = new Stream(join(this.#logDir, 'log', device), device, {
        workspace: this.#workspace,
        config: () => undefined,
        nextNumber: () => 0,
        // The reader of the log tells of what cannot be read.
        onDamage: () => undefined,
        keys: this.#keys
      });
      watched = { stream, grown: new StreamTree(stream, new TileTree()), files: new Map() };
      this.#streams.set(device, watched);
    }
    watched.stream.discover();
    for (const { path } of watched.stream.segments) {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found !== undefined) watched.files.set(path, { file: `${found.dev}:${found.ino}`, size: found.size });
    }
    return watched;
  }

  /** Everything by which the log contradicts what was seen of it. Where there is nothing, what is there now is remembered. */
  check(): Damage[] {
    const memories = this.#remembered.all();
    const devices = new Set(this.#devices());
    const damages: Damage[] = [];
    for (const device of new Set([...devices, ...memories.map(memory => memory.device)])) {
      const own = memories.filter(memory => memory.device === device);
      const here = own.find(memory => memory.place === this.#place);
      const givenUp = new Set(here?.accepted.map(({ note }) => note));
      const claims = own.flatMap(({ checkpoint, place }) =>
        checkpoint === undefined || givenUp.has(checkpoint.note) ? [] : [{ checkpoint, here: place === this.#place }]
      );
      if (!devices.has(device)) {
        const lost = claims.find(claim => claim.here);
        if (lost !== undefined) damages.push(rewritten(device, lost.checkpoint, 0, undefined));
        continue;
      }
      const damage = this.#judge(device, here?.publicKey, claims);
      if (damage !== undefined) damages.push(damage);
    }
    return damages;
  }

  /** True once after files were found replaced by others: whoever has them open must open them again. */
  takeReplaced(): boolean {
    const replaced = this.#replaced;
    this.#replaced = false;
    return replaced;
  }

  #devices(): string[] {
    try {
      return readdirSync(join(this.#logDir, 'log')).filter(name => DEVICE.test(name));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  #judge(
    device: string,
    knownKey: Buffer | undefined,
    claims: readonly { readonly checkpoint: Checkpoint; readonly here: boolean }[]
  ): Damage | undefined {
    const dir = join(this.#logDir, 'log', device);
    // Before the records: those it covers are then there for sure.
    const key = streamKey(dir, this.#workspace, device);
    const signed = key === undefined ? undefined : readCheckpoint(dir, this.#workspace, device, key);
    if (knownKey !== undefined && key?.equals(knownKey) === false) {
      return {
        kind: 'fork',
        where: `log/${device}`,
        versions: [],
        message: `Device ${device} has another key than it had when it was seen here.`
      };
    }
    const { grown } = this.#watched(device);
    grown.advance();
    const { tree } = grown;
    const sound = signed !== undefined && holds(tree, signed);
    for (const { checkpoint, here } of claims) {
      if (holds(tree, checkpoint) || (checkpoint.size > tree.size && !here)) continue;
      return rewritten(device, checkpoint, tree.size, sound || (signed?.size ?? 0) > tree.size ? signed : undefined);
    }
    if (signed === undefined || key === undefined) return undefined;
    if (!sound) return rewritten(device, signed, tree.size, signed.size > tree.size ? signed : undefined);
    this.#remember(device, key, signed);
    return undefined;
  }

  #remember(device: string, key: Buffer, checkpoint: Checkpoint): void {
    try {
      this.#remembered.advance(device, this.#logDir, key, checkpoint);
    } catch {
      // A home that cannot be written to remembers nothing; what was seen before still counts.
    }
  }

  /** Takes the log as it is now for the true one. What was seen before is kept, as given up. */
  accept(): void {
    const memories = this.#remembered.all();
    const devices = this.#devices();
    for (const device of new Set([...devices, ...memories.map(memory => memory.device)])) {
      const own = memories.filter(memory => memory.device === device);
      const here = own.find(memory => memory.place === this.#place);
      const dir = join(this.#logDir, 'log', device);
      const key = streamKey(dir, this.#workspace, device) ?? here?.publicKey ?? own[0]?.publicKey;
      if (key === undefined) continue;
      const present = devices.includes(device);
      const { tree } = present ? this.#watched(device).grown : { tree: new TileTree() };
      if (present) this.#watched(device).grown.advance();
      const signed = present ? readCheckpoint(dir, this.#workspace, device, key) : undefined;
      const sound = signed !== undefined && holds(tree, signed) ? signed : undefined;
      const givenUp = own.flatMap(({ checkpoint, place }) =>
        checkpoint === undefined ||
        holds(tree, checkpoint) ||
        (checkpoint.size > tree.size && place !== this.#place && here !== undefined)
          ? []
          : [checkpoint]
      );
      if (sound !== undefined || here !== undefined || givenUp.length > 0) {
        this.#remembered.accept(device, this.#logDir, key, sound, givenUp);
      }
    }
  }

  close(): void {
    for (const { stream } of this.#streams.values()) stream.close();
    this.#streams.clear();
  }
}

/** True while every segment that was read is the same file still, and no shorter. */
function unreplaced({ files }: Watched): boolean {
  for (const [path, { file, size }] of files) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined || `${found.dev}:${found.ino}` !== file || found.size < size) return false;
  }
  return true;
}

/** The refusal that goes with a damage of {@link RewriteGuard}. */
export function rewrittenError(logDir: string, damages: readonly Damage[]): SyftError {
  const [first] = damages;
  return new SyftError(
    'LOG_REWRITTEN',
    `The log at ${logDir} is not the one that was seen before (${first?.kind ?? 'rewritten'}): ${first?.message ?? ''} ` +
      'Nothing is taken from it; when that is intended: syft-sync --log LOG fsck --accept.',
    { path: logDir }
  );
}
