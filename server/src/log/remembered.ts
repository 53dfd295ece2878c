/**
 * Checkpoints that this installation has seen, kept outside of the log in the user's configuration:
 * `seen/<workspace>/<device>-<place>.json`. What is only in the log can be taken back with the log; this cannot.
 */
import { createHash } from 'node:crypto';
import { readdirSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { makePrivateDirectory, replaceFile } from '../storage/durable.ts';
import { openCheckpoint, type Checkpoint } from './checkpoint.ts';
import { readText } from '../storage/read-text.ts';

/** What is remembered of one stream at one place. */
export interface Memory {
  readonly device: string;
  /** Which log directory, as a short hash of its path. */
  readonly place: string;
  /** The path of that directory when this was written, for messages. */
  readonly log: string;
  readonly publicKey: Buffer;
  /** The furthest checkpoint seen; `undefined`: the stream was accepted as having none, or as gone. */
  readonly checkpoint: Checkpoint | undefined;
  /** Checkpoints that the user gave up when accepting a log that does not follow from them. */
  readonly accepted: readonly Checkpoint[];
}

interface MemoryFile {
  readonly log: string;
  readonly publicKey: string;
  readonly checkpoint: string;
  readonly accepted: readonly string[];
}

/** Names a log directory in the names of files. */
export function placeOf(logDir: string): string {
  let path = resolve(logDir);
  try {
    path = realpathSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
  return createHash('sha256').update(path).digest('hex').slice(0, 16);
}

/** The memory of one workspace. */
export class Remembered {
  readonly #dir: string;
  readonly #workspace: string;

  /** @param configDir The user's configuration, as `configurationDirectory()` says. */
  constructor(configDir: string, workspace: string) {
    this.#dir = join(configDir, 'seen', workspace);
    this.#workspace = workspace;
  }

  /** All that is remembered, of all streams at all places. A file that is damaged counts as not there. */
  all(): Memory[] {
    let names: string[] = [];
    try {
      names = readdirSync(this.#dir);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
    return names.sort().flatMap(name => {
      const [, device, place] = /^([a-z2-7]{8})-([0-9a-f]{16})\.json$/.exec(name) ?? [];
      const memory = device === undefined || place === undefined ? undefined : this.#read(name, device, place);
      return memory === undefined ? [] : [memory];
    });
  }

  #read(name: string, device: string, place: string): Memory | undefined {
    try {
      const body = JSON.parse(readText(join(this.#dir, name))) as MemoryFile;
      const publicKey = Buffer.from(body.publicKey, 'base64');
      const open = (note: string): Checkpoint | undefined => openCheckpoint(note, this.#workspace, device, publicKey);
      const checkpoint = body.checkpoint === '' ? undefined : open(body.checkpoint);
      if (publicKey.length !== 32 || (checkpoint === undefined && body.checkpoint !== '')) return undefined;
      return {
        device,
        place,
        log: String(body.log),
        publicKey,
        checkpoint,
        accepted: body.accepted.flatMap(note => open(note) ?? [])
      };
    } catch {
      return undefined;
    }
  }

  of(device: string, place: string): Memory | undefined {
    return this.#read(`${device}-${place}.json`, device, place);
  }

  /** Remembers a checkpoint that was found to follow from what is remembered. Never goes back to a smaller one. */
  advance(device: string, logDir: string, publicKey: Buffer, checkpoint: Checkpoint): void {
    const place = placeOf(logDir);
    const before = this.of(device, place);
    if (before?.checkpoint !== undefined && before.checkpoint.size >= checkpoint.size) return;
    this.#write(device, place, logDir, publicKey, checkpoint, before?.accepted ?? []);
  }

  /** Takes the present state of a stream for the true one, whatever was remembered; that is kept as given up. */
  accept(
    device: string,
    logDir: string,
    publicKey: Buffer,
    checkpoint: Checkpoint | undefined,
    givenUp: readonly Checkpoint[]
  ): void {
    const place = placeOf(logDir);
    const notes = new Map([...(this.of(device, place)?.accepted ?? []), ...givenUp].map(given => [given.note, given]));
    this.#write(device, place, logDir, publicKey, checkpoint, [...notes.values()]);
  }

  #write(
    device: string,
    place: string,
    logDir: string,
    publicKey: Buffer,
    checkpoint: Checkpoint | undefined,
    accepted: readonly Checkpoint[]
  ): void {
    makePrivateDirectory(this.#dir);
    const body: MemoryFile = {
      log: resolve(logDir),
      publicKey: publicKey.toString('base64'),
      checkpoint: checkpoint?.note ?? '',
      accepted: accepted.map(({ note }) => note)
    };
    replaceFile(join(this.#dir, `${device}-${place}.json`), Buffer.from(`${JSON.stringify(body, null, 1)}\n`));
  }
}
