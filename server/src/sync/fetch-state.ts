/** What a fetched copy of a log knows of itself: how far each of its segments was synced, and which objects that came from. */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import { errnoOf } from '../core/errors.ts';
import { makePrivateDirectory, replaceFile } from '../storage/durable.ts';

/** A segment of the copy. */
export interface FetchedSegment {
  /** Bytes that are durable here. */
  readonly length: number;
  /** Which objects they are all of; `''` while some are missing. */
  readonly key: string;
}

const StateFile = z.object({
  version: z.literal(1),
  segments: z.record(z.string(), z.tuple([z.number().int().nonnegative(), z.string()]))
});

/** A file; without it, or when it is damaged, the copy is looked at instead. */
export class FetchState {
  readonly #path: string;
  readonly #segments: Map<string, FetchedSegment>;

  private constructor(path: string, segments: Map<string, FetchedSegment>) {
    this.#path = path;
    this.#segments = segments;
  }

  static async open(path: string): Promise<FetchState> {
    const segments = new Map<string, FetchedSegment>();
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return '';
      throw error;
    });
    try {
      for (const [name, [length, key]] of Object.entries(StateFile.parse(JSON.parse(text)).segments)) {
        segments.set(name, { length, key });
      }
    } catch {
      // What it said is found out again.
    }
    return new FetchState(path, segments);
  }

  of(name: string): FetchedSegment | undefined {
    return this.#segments.get(name);
  }

  /** Remembers a segment, durably; `undefined`: it is gone. */
  set(name: string, segment: FetchedSegment | undefined): void {
    if (segment === undefined) this.#segments.delete(name);
    else this.#segments.set(name, segment);
    makePrivateDirectory(dirname(this.#path));
    const segments = Object.fromEntries([...this.#segments].map(([each, { length, key }]) => [each, [length, key]]));
    replaceFile(this.#path, Buffer.from(`${JSON.stringify({ version: 1, segments })}\n`));
  }
}
