/**
 * Writes a message: a gzip tar whose members stand in the order that OpenMined's readers expect, byte for byte the same whenever it is made
 * of the same. Contents pass through; none is held whole but what the events member repeats.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';
import { SyftError } from '../core/errors.ts';
import type { DeviceKey } from '../crypto/device-key.ts';
import { syncDirectory, writeError } from '../storage/durable.ts';
import { descriptionOf, eventsOf, EVENTS_MEMBER } from './description.ts';
import { MANIFEST_MEMBER, signManifest, SIGNATURE_MEMBER, type Manifest } from './manifest.ts';
import { sealFor } from './seal.ts';

/** Up to so many bytes of contents are repeated in the events member, in base64 where they are not text. */
const EVENTS_LIMIT = 16 * 2 ** 20;

export interface ArchiveRequest {
  readonly manifest: Omit<Manifest, 'members'>;
  /** Content of the file at a place in `manifest.files`. */
  readonly content: (index: number) => AsyncIterable<Uint8Array>;
  readonly key: DeviceKey;
  /** `age1…`: only they can open it. None: anybody can. */
  readonly sealFor?: readonly string[] | undefined;
  /** Target; replaced when it is there. */
  readonly outFile: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

const COMMON = { uid: 0, gid: 0, mtime: new Date(0) };

class Members {
  readonly #tar: Pack;
  constructor(tar: Pack) {
    this.#tar = tar;
  }

  directory(name: string): void {
    this.#tar.entry({ ...COMMON, name: `${name}/`, type: 'directory', mode: 0o755 });
  }

  file(name: string, body: Buffer): void {
    this.#tar.entry({ ...COMMON, name, mode: 0o644 }, body);
  }

  /** Resolves when all of it is taken. */
  stream(name: string, size: number, content: AsyncIterable<Uint8Array>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const entry = this.#tar.entry({ ...COMMON, name, size, mode: 0o644 }, error =>
      error ? reject(error) : resolve(undefined)
    );
    pipeline(content, entry).catch(reject);
    return promise;
  }
}

async function writeMembers(tar: Pack, request: ArchiveRequest): Promise<void> {
  const { manifest, content, key, signal, onProgress } = request;
  const { id, files } = manifest;
  const members = new Members(tar);
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const kept: Buffer[] | undefined = total <= EVENTS_LIMIT ? [] : undefined;
  let done = 0;
  members.directory(id);
  members.directory(`${id}/data`);
  for (const [i, file] of files.entries()) {
    const hash = createHash('sha256');
    const pieces: Uint8Array[] = [];
    const passed = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of content(i)) {
        signal?.throwIfAborted();
        hash.update(piece);
        if (kept !== undefined) pieces.push(piece);
        done += piece.length;
        onProgress?.({ done, total });
        yield piece;
      }
    };
    await members.stream(`${id}/data/${file.member}`, file.size, passed());
    if (hash.digest('hex') !== file.hash) {
      throw new SyftError('LOG_DAMAGED', `The content of ${file.versionId} is not what its record says. Run fsck.`, {
        path: file.path
      });
    }
    kept?.push(Buffer.concat(pieces));
  }
  const whole: Manifest = { ...manifest, members: [] };
  const add = (name: string, body: Buffer): void => {
    whole.members.push({ name, size: body.length, hash: createHash('sha256').update(body).digest('hex') });
    members.file(name, body);
  };
  add(`${id}/${id}.json`, descriptionOf(whole));
  if (kept !== undefined) add(EVENTS_MEMBER, eventsOf(whole, kept));
  const signed = signManifest(whole, key);
  members.file(MANIFEST_MEMBER, signed.manifest);
  members.file(SIGNATURE_MEMBER, signed.signature);
  tar.finalize();
}

/**
 * Writes a message, at once and durably: what stood at `outFile` is there until the new one is whole.
 *
 * @throws SyftError LOG_DAMAGED when a content is not what its record says, BAD_REQUEST for a recipient that is none, CANCELLED, DISK_*.
 */
export async function writeArchive(request: ArchiveRequest): Promise<void> {
  const { outFile, signal, sealFor: recipients = [] } = request;
  const temporary = join(dirname(outFile), `.syft-sync-tmp-${randomUUID()}`);
  const tar = pack();
  try {
    const writing = writeMembers(tar, request).catch((error: unknown) => {
      tar.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    });
    const out = createWriteStream(temporary, { mode: 0o600, flags: 'wx' });
    const packing =
      recipients.length === 0
        ? pipeline(tar, createGzip(), out)
        : pipeline(tar, createGzip(), sealFor(recipients), out);
    // What went wrong first is what is said; the other is only the stream that was closed for it.
    packing.catch(() => undefined);
    await writing.catch(async (error: unknown) => {
      await packing.catch(() => undefined);
      throw error;
    });
    await packing;
    const handle = await open(temporary, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, outFile);
    syncDirectory(dirname(outFile));
  } catch (error) {
    if (signal?.aborted === true) throw new SyftError('CANCELLED', 'The message was not written.', { cause: error });
    throw error instanceof SyftError ? error : writeError(error, outFile);
  } finally {
    await rm(temporary, { force: true });
  }
}
