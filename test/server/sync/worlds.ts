/** Folders and logs for the tests of receivers. Everything lies in one temporary folder per world. */
import { createHash } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Change, ChangeDraft } from '../../../server/src/core/change.ts';
import type { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { createEncryptedLog } from '../../../server/src/log/encryption.ts';
import { openLogWriter } from '../../../server/src/log/log.ts';
import type { ChunkInput, LogWriter } from '../../../server/src/log/types.ts';

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** A temporary folder that is removed when the test ends: `await using`. */
export class World implements AsyncDisposable {
  readonly dir: string;
  readonly #logs: HandLog[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<World> {
    return new World(await realpath(await mkdtemp(join(tmpdir(), 'syft-sync-receive-'))));
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** A log that says what the test wants it to say. */
  async log(name: string): Promise<HandLog> {
    const dir = this.path(name);
    await mkdir(dir, { recursive: true });
    const log = new HandLog(await openLogWriter({ dir, keyDir: this.path(`${name}-key`) }));
    this.#logs.push(log);
    return log;
  }

  /** An encrypted one, with its keys. */
  async encryptedLog(name: string): Promise<{ log: HandLog; keys: LogKeys }> {
    const dir = this.path(name);
    const cost = { memory: 8 * 1024, passes: 1, lanes: 1 };
    const keys = await createEncryptedLog(dir, { passphrase: 'a good one', recipients: [], cost });
    const log = new HandLog(await openLogWriter({ dir, keyDir: this.path(`${name}-key`), keys }));
    this.#logs.push(log);
    return { log, keys };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const log of this.#logs) {
      await log.close();
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Writes changes into a real log, true or not. */
export class HandLog {
  readonly writer: LogWriter;
  #closed = false;

  constructor(writer: LogWriter) {
    this.writer = writer;
  }

  get dir(): string {
    return this.writer.dir;
  }

  async append(
    drafts: readonly { draft: Omit<ChangeDraft, 'flags'> & Partial<ChangeDraft>; content?: Buffer | string }[]
  ): Promise<Change[]> {
    return this.writer.append(
      drafts.map(({ draft, content }) => {
        if (content === undefined) {
          return { draft: { flags: [], ...draft }, chunks: [] };
        }
        const bytes = Buffer.from(content);
        const chunks: ChunkInput[] = [];
        for (let start = 0; start < bytes.length; start += 65_536) {
          const piece = bytes.subarray(start, start + 65_536);
          chunks.push({ id: sha256(piece), bytes: piece });
        }
        const { ref, chunks: more } = this.writer.contentRef(chunks.map(chunk => chunk.id));
        const whole = {
          flags: [],
          size: bytes.length,
          hash: sha256(bytes),
          content: ref,
          ...draft
        } satisfies ChangeDraft;
        return { draft: whole, chunks: [...chunks, ...more] };
      })
    );
  }

  async write(path: string, content: Buffer | string, more: Partial<ChangeDraft> = {}): Promise<Change> {
    const [change] = await this.append([
      { draft: { kind: 'created', path, type: 'file', mode: 0o644, mtime: 1_700_000_000_000_000, ...more }, content }
    ]);
    return change as Change;
  }

  async remove(path: string): Promise<void> {
    await this.append([{ draft: { kind: 'deleted', path, type: 'file' } }]);
  }

  async move(from: string, to: string, content: string): Promise<void> {
    await this.append([{ draft: { kind: 'moved', path: to, from, type: 'file', mode: 0o644 }, content }]);
  }

  async mkdir(path: string): Promise<void> {
    await this.append([{ draft: { kind: 'created', path, type: 'directory', mode: 0o755 } }]);
  }

  async link(path: string, target: string): Promise<void> {
    await this.append([{ draft: { kind: 'created', path, type: 'symlink' }, content: target }]);
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      await this.writer.close();
    }
  }
}

/** What a user sees in a folder: path → content, `-> target` for links, `/` for empty directories. Our own folder apart. */
export async function seen(dir: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const walk = async (at: string, prefix: string): Promise<void> => {
    const names = (await readdir(at)).filter(name => name !== '.syft-sync').sort();
    if (names.length === 0 && prefix !== '') {
      found[prefix] = '/';
    }
    for (const name of names) {
      const path = join(at, name);
      const relative = prefix === '' ? name : `${prefix}/${name}`;
      const stats = await lstat(path);
      if (stats.isDirectory()) {
        await walk(path, relative);
      } else {
        found[relative] = stats.isSymbolicLink() ? `-> ${await readlink(path)}` : await readFile(path, 'latin1');
      }
    }
  };
  await walk(dir, '');
  return found;
}

/** Waits until `check` no longer throws; its last error when that takes more than `ms`. */
export async function eventually(check: () => unknown, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; ;) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
      await new Promise(done => setTimeout(done, 25));
    }
  }
}
