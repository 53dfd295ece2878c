/**
 * The message box of a log, `<log>/messages/`: what was received lies there as it came until a person decides, and what was sent is noted.
 *
 *     inbox/<id>/archive.syft     as it came
 *     inbox/<id>/record.json      when and how it came; never written again
 *     inbox/<id>/verdict.json     what it was found to be, and when that would have to be found anew
 *     inbox/<id>/detail.json      its files, what is proven and what is claimed
 *     inbox/<id>/read             it was looked at
 *     inbox/<id>/accepted.json    when it was last taken into the workspace
 *     outbox/<id>/record.json     what was sent, to whom, from which versions
 *     outbox/<id>/detail.json     its files
 *     new-<random>/               what is just being received, or removed
 *
 * A message is made whole beside its place and comes there by one rename, so that a crash leaves it or nothing; what it leaves of an
 * attempt is taken away by the next. Each fact that comes later is a file of its own, so that several processes may say theirs: a
 * sidecar that only reads the log has the same box as the one that records.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, mkdir, readdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { makePrivateDirectory, syncDirectory, writeError } from '../storage/durable.ts';
import type { ArchiveSource } from './archive-source.ts';
import { BoxFiles, writeNew } from './box-files.ts';
import { DetailSchema, judge, VerdictSchema, type Detail, type Judged, type Verdict } from './judge.ts';

export type BoxName = 'inbox' | 'outbox';
const BOXES: readonly BoxName[] = ['inbox', 'outbox'];
const ID = /^[0-9a-f]{32}$/;
const IN_WORK = /^new-[0-9a-f]{16}$/;
const ARCHIVE = 'archive.syft';

/** What the box may come to, whoever sends. */
export interface BoxLimits {
  /** Messages of each box. */
  readonly messages: number;
  /** Bytes of one archive. */
  readonly archiveBytes: number;
  /** Bytes of all archives of the inbox. */
  readonly totalBytes: number;
  /** Bytes of the disk that are left free. */
  readonly freeBytes: number;
  /** What was begun and not written to for so many milliseconds is given up. */
  readonly abandonedMs: number;
}

export const BOX_LIMITS: BoxLimits = {
  messages: 2000,
  archiveBytes: 4 * 2 ** 30,
  totalBytes: 16 * 2 ** 30,
  freeBytes: 512 * 2 ** 20,
  abandonedMs: 600_000
};

const COUNT = z.number().int().nonnegative();
const SourceSchema = z.enum(['file', 'upload', 'mailbox']);
export type MessageSource = z.infer<typeof SourceSchema>;

const InboxRecordSchema = z.object({
  version: z.literal(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  receivedAt: z.iso.datetime(),
  size: COUNT,
  source: SourceSchema
});

const OutboxRecordSchema = z.object({
  version: z.literal(1),
  sentAt: z.iso.datetime(),
  /** Of the message, as it was made. */
  size: COUNT,
  messageId: z.string(),
  versions: z.array(z.string()).min(1),
  sender: z.string(),
  publicKey: z.string(),
  /** As they were named when it was sent. */
  recipients: z.array(z.string()),
  note: z.string().optional(),
  replyTo: z.string().optional(),
  at: z.string().optional(),
  sealed: z.boolean(),
  bytes: COUNT,
  paths: z.array(z.string()),
  delivered: z.object({ contact: z.string().optional(), path: z.string().optional() })
});
export type OutboxRecord = Omit<z.infer<typeof OutboxRecordSchema>, 'version'>;

const KeptVerdictSchema = z.object({
  version: z.literal(1),
  /** Who judged. */
  program: z.string(),
  /** What the archive was like. */
  print: z.string(),
  /** With which identities it was tried; of one that is locked. */
  identities: z.string().optional(),
  verdict: VerdictSchema
});
type KeptVerdict = z.infer<typeof KeptVerdictSchema>;

const AcceptedSchema = z.object({ at: z.string(), to: z.string().optional(), changes: COUNT });
export type Accepted = z.infer<typeof AcceptedSchema>;

interface EntryBase {
  readonly id: string;
  /** ISO 8601: received, or sent. */
  readonly at: string;
  /** Bytes of the archive. */
  readonly size: number;
}

export interface InboxEntry extends EntryBase {
  readonly box: 'inbox';
  readonly source: MessageSource;
  readonly read: boolean;
  readonly verdict: Verdict;
  readonly accepted?: Accepted;
  /** It is locked: the identities that did not open it. */
  readonly lockedFor?: string;
}

export interface OutboxEntry extends EntryBase {
  readonly box: 'outbox';
  readonly record: OutboxRecord;
}

export type BoxEntry = InboxEntry | OutboxEntry;

/** Identities that sealed messages are opened with. */
export interface Identities {
  readonly list: readonly string[];
  /** Differs when the list may be another one. */
  readonly print: string;
  /** Why there are none, where there should be: a sentence. */
  readonly problem?: string;
}

export interface MessageBoxOptions {
  readonly logDir: string;
  /** Of an encrypted log. */
  readonly keys?: LogKeys | undefined;
  /** Version of this program: what another one found to be altered is judged anew. */
  readonly program: string;
  readonly identities?: (() => Identities) | undefined;
  readonly limits?: Partial<BoxLimits> | undefined;
}

const UNREADABLE: Verdict = {
  state: 'altered',
  problem: 'It cannot be read here any more: the disk, or what seals it here, is damaged.',
  sealed: false,
  recipients: [],
  files: 0,
  bytes: 0,
  paths: []
};
/** Entries that are looked at together. */
const TOGETHER = 32;
/** Milliseconds for which it is believed what the inbox holds, when messages come one after the other. */
const COUNTED_MS = 2000;
/** Milliseconds after which a change of a directory shows in its times. */
const SETTLED_MS = 100;

const NO_IDENTITIES: Identities = { list: [], print: '' };

/** The id of an archive in the inbox, or of a message in the outbox. */
export function boxId(digest: string): string {
  return digest.slice(0, 32);
}

/** The id of a message in the outbox. */
export function outboxId(messageId: string): string {
  return boxId(createHash('sha256').update(messageId).digest('hex'));
}

/** See the file's first lines. */
export class MessageBox {
  readonly #files: BoxFiles;
  readonly #options: MessageBoxOptions;
  readonly #limits: BoxLimits;
  /** Entries as they were read, by place, with what their directory was like. */
  readonly #known = new Map<string, { readonly print: string; readonly entry: BoxEntry }>();
  /** Bytes of what is just being received here. */
  #arriving = 0;
  /** What the inbox held when it was last gone through, and what came here since. */
  #held: { readonly at: number; messages: number; bytes: number } | undefined;
  /** One archive is judged at a time: each takes a processor. */
  #judging: Promise<unknown> = Promise.resolve();

  constructor(options: MessageBoxOptions) {
    this.#options = options;
    this.#files = new BoxFiles(join(options.logDir, 'messages'), options.keys);
    this.#limits = { ...BOX_LIMITS, ...options.limits };
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  /** Messages of both boxes or of one, newest first. What is not one is passed over. */
  async list(box?: BoxName): Promise<BoxEntry[]> {
    const entries: BoxEntry[] = [];
    for (const name of box === undefined ? BOXES : [box]) {
      const ids = await this.#ids(name);
      for (let at = 0; at < ids.length; at += TOGETHER) {
        const found = await Promise.all(ids.slice(at, at + TOGETHER).map(id => this.#entry(name, id)));
        entries.push(...found.filter(entry => entry !== undefined));
      }
    }
    return entries.sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.id < b.id ? 1 : -1));
  }

  /** Throws NOT_FOUND. */
  async get(id: string): Promise<BoxEntry> {
    if (ID.test(id)) {
      for (const name of BOXES) {
        const entry = await this.#entry(name, id);
        if (entry !== undefined) return entry;
      }
    }
    throw new SyftError('NOT_FOUND', 'There is no such message here; it may have been removed.');
  }

  async detail({ box, id }: BoxEntry): Promise<Detail> {
    const detail = DetailSchema.safeParse(await this.#files.readText(`${box}/${id}/detail.json`));
    return detail.success ? detail.data : { fileList: [], proven: [], claimed: [] };
  }

  /** The archive of a message of the inbox. Throws as {@link BoxFiles.openArchive}. */
  open({ id, size }: InboxEntry): Promise<ArchiveSource> {
    return this.#files.openArchive(this.#files.path('inbox', id, ARCHIVE), size);
  }

  async #ids(name: BoxName): Promise<string[]> {
    try {
      return (await readdir(this.#files.path(name))).filter(id => ID.test(id));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
      throw writeError(error, 'the message box could not be read');
    }
  }

  async #entry(name: BoxName, id: string): Promise<BoxEntry | undefined> {
    const place = `${name}/${id}`;
    const print = await printOf(this.#files.path(place));
    if (print === undefined) {
      this.#known.delete(place);
      return undefined;
    }
    const known = this.#known.get(place);
    if (known?.print === print && !this.#isStale(known.entry)) return known.entry;
    this.#known.delete(place);
    try {
      const entry = name === 'inbox' ? await this.#readInbox(id) : await this.#readOutbox(id);
      if (entry === undefined) return undefined;
      // What is written in the same tick of the file system's clock does not show.
      const settled = Date.now() - ((await lstatOf(this.#files.path(place)))?.mtimeMs ?? Infinity) > SETTLED_MS;
      if (settled && (await printOf(this.#files.path(place))) === print) this.#known.set(place, { print, entry });
      return entry;
    } catch (error) {
      // It was removed while it was read.
      if (errnoOf(error) === 'ENOENT' || (error instanceof SyftError && error.code === 'PATH_NOT_FOUND')) {
        return undefined;
      }
      throw error;
    }
  }

  /** It was locked, and there are other identities now. */
  #isStale(entry: BoxEntry): boolean {
    return entry.box === 'inbox' && entry.lockedFor !== undefined && entry.lockedFor !== this.#identities().print;
  }

  #identities(): Identities {
    return this.#options.identities?.() ?? NO_IDENTITIES;
  }

  async #readInbox(id: string): Promise<InboxEntry | undefined> {
    const record = InboxRecordSchema.safeParse(await this.#files.readText(`inbox/${id}/record.json`));
    if (!record.success || boxId(record.data.sha256) !== id) return undefined;
    const { receivedAt, size, source } = record.data;
    const identities = this.#identities();
    const verdict = await this.#verdict(id, size, identities);
    if (verdict === undefined) return undefined;
    const accepted = AcceptedSchema.safeParse(await this.#files.readText(`inbox/${id}/accepted.json`));
    return {
      box: 'inbox',
      id,
      at: receivedAt,
      size,
      source,
      verdict,
      read: (await lstatOf(this.#files.path('inbox', id, 'read'))) !== undefined,
      ...(accepted.success && { accepted: accepted.data }),
      ...(verdict.state === 'locked' && { lockedFor: identities.print })
    };
  }

  async #readOutbox(id: string): Promise<OutboxEntry | undefined> {
    const found = OutboxRecordSchema.safeParse(await this.#files.readText(`outbox/${id}/record.json`));
    if (!found.success || outboxId(found.data.messageId) !== id) return undefined;
    const { version: _, ...record } = found.data;
    return { box: 'outbox', id, at: record.sentAt, size: record.size, record };
  }

  // ---- judging ------------------------------------------------------------------------------------------------------

  /** What was found, or, where that no longer counts, is found now. `undefined`: there is no archive. */
  async #verdict(id: string, size: number, identities: Identities): Promise<Verdict | undefined> {
    const path = this.#files.path('inbox', id, ARCHIVE);
    const print = await printOf(path);
    if (print === undefined) return undefined;
    const kept = KeptVerdictSchema.safeParse(await this.#files.readText(`inbox/${id}/verdict.json`));
    if (kept.success && this.#counts(kept.data, print, identities)) return kept.data.verdict;
    let judged: Judged;
    try {
      judged = await this.#judge(await this.#files.openArchive(path, size), identities);
    } catch (error) {
      if (!(error instanceof SyftError) || !['UNREADABLE', 'LOG_DAMAGED'].includes(error.code)) throw error;
      // One that the disk does not give back must not keep the others from being listed.
      return UNREADABLE;
    }
    await this.#writing(async () => {
      await this.#files.replaceText(`inbox/${id}/detail.json`, judged.detail);
      await this.#files.replaceText(`inbox/${id}/verdict.json`, this.#kept(judged.verdict, print, identities));
    });
    return judged.verdict;
  }

  #counts({ program, print, identities, verdict }: KeptVerdict, now: string, tried: Identities): boolean {
    if (print !== now) return false;
    if (verdict.state === 'altered') return program === this.#options.program;
    return verdict.state === 'whole' || identities === tried.print;
  }

  #kept(verdict: Verdict, print: string, identities: Identities): KeptVerdict {
    return {
      version: 1,
      program: this.#options.program,
      print,
      ...(verdict.state === 'locked' && { identities: identities.print }),
      verdict
    };
  }

  #judge(source: ArchiveSource, { list, problem }: Identities, signal?: AbortSignal): Promise<Judged> {
    const judging = this.#judging.then(async () => {
      const judged = await judge(source, { identities: list, signal });
      if (problem === undefined || judged.verdict.state !== 'locked') return judged;
      return { ...judged, verdict: { ...judged.verdict, problem } };
    });
    this.#judging = judging.catch(() => undefined);
    return judging;
  }

  // ---- receiving ----------------------------------------------------------------------------------------------------

  /**
   * Takes a message in, as it is, and says what it is. Nothing else is done with it.
   *
   * @param bytes The archive. Not read further than the limits allow.
   * @returns `fresh`: it was not here before.
   * @throws SyftError BAD_REQUEST when it is larger than a message may be, MESSAGES_FULL, DISK_*, CANCELLED; then nothing of it is here.
   */
  async receive(
    bytes: AsyncIterable<Uint8Array>,
    source: MessageSource,
    signal?: AbortSignal
  ): Promise<{ readonly entry: InboxEntry; readonly fresh: boolean }> {
    const dir = await this.workDirectory();
    const arrived = { bytes: 0 };
    try {
      const room = await this.#room();
      const sha256 = await this.#store(bytes, join(dir, ARCHIVE), room, arrived, signal);
      const id = boxId(sha256);
      const already = await this.#entry('inbox', id);
      if (already?.box === 'inbox') return { entry: already, fresh: false };
      await this.#fill(dir, id, { sha256, size: arrived.bytes, source }, signal);
      await this.#place(dir, id);
      if (this.#held !== undefined) {
        this.#held.messages += 1;
        this.#held.bytes += arrived.bytes;
      }
      const entry = await this.#entry('inbox', id);
      if (entry?.box !== 'inbox') throw new SyftError('NOT_FOUND', 'The message was removed while it was received.');
      return { entry, fresh: true };
    } catch (error) {
      throw error instanceof SyftError ? error : writeError(error, 'the message could not be received');
    } finally {
      this.#arriving -= arrived.bytes;
      await rm(dir, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /**
   * A private directory of its own for what is to become a message, to be removed by whoever asked; what attempts before have left is taken
   * away.
   */
  async workDirectory(): Promise<string> {
    return this.#writing(async () => {
      makePrivateDirectory(this.#files.dir);
      await this.sweep();
      const dir = this.#files.path(`new-${randomBytes(8).toString('hex')}`);
      await mkdir(dir, { mode: 0o700 });
      return dir;
    });
  }

  /** Bytes that may still come. Throws MESSAGES_FULL. */
  async #room(): Promise<number> {
    const { messages, totalBytes } = this.#limits;
    if (this.#held === undefined || performance.now() - this.#held.at > COUNTED_MS) {
      const entries = await this.list('inbox');
      const bytes = entries.reduce((sum, { size }) => sum + size, 0);
      this.#held = { at: performance.now(), messages: entries.length, bytes };
    }
    const held = this.#held;
    if (held.messages >= messages) {
      throw new SyftError('MESSAGES_FULL', `The inbox has ${held.messages} messages, and takes no more. Remove some.`);
    }
    if (held.bytes >= totalBytes) throw tooFull(totalBytes);
    return totalBytes - held.bytes;
  }

  async #store(
    bytes: AsyncIterable<Uint8Array>,
    path: string,
    room: number,
    arrived: { bytes: number },
    signal: AbortSignal | undefined
  ): Promise<string> {
    const hash = createHash('sha256');
    const { archiveBytes, totalBytes, freeBytes } = this.#limits;
    let looked = -Infinity;
    const counted = async function* (this: MessageBox): AsyncGenerator<Uint8Array> {
      for await (const piece of bytes) {
        if (signal?.aborted === true) throw new SyftError('CANCELLED', 'The message was not received.');
        arrived.bytes += piece.length;
        this.#arriving += piece.length;
        if (arrived.bytes > archiveBytes) {
          throw new SyftError('BAD_REQUEST', `A message may have ${archiveBytes} bytes, and this one has more.`);
        }
        if (this.#arriving > room) throw tooFull(totalBytes);
        if (arrived.bytes - looked > 16 * 2 ** 20) {
          looked = arrived.bytes;
          const { bavail, bsize } = await statfs(this.#files.dir);
          if (bavail * bsize - piece.length < freeBytes) {
            throw new SyftError('DISK_FULL', 'There is not enough room on the disk to receive the message.');
          }
        }
        hash.update(piece);
        yield piece;
      }
    };
    await writeNew(path, this.#files.archiveBytes(counted.call(this)));
    if (arrived.bytes === 0) throw new SyftError('BAD_REQUEST', 'There is nothing in the message.');
    return hash.digest('hex');
  }

  /** Judges what has come, and writes beside it what is to be known of it. */
  async #fill(
    dir: string,
    id: string,
    { sha256, size, source }: { readonly sha256: string; readonly size: number; readonly source: MessageSource },
    signal: AbortSignal | undefined
  ): Promise<void> {
    const path = join(dir, ARCHIVE);
    const print = (await printOf(path)) ?? '';
    const identities = this.#identities();
    const { verdict, detail } = await this.#judge(await this.#files.openArchive(path, size), identities, signal);
    const write = (name: string, value: unknown): Promise<void> =>
      this.#files.writeText(join(dir, name), `inbox/${id}/${name}`, value);
    await write('detail.json', detail);
    await write('verdict.json', this.#kept(verdict, print, identities));
    await write('record.json', { version: 1, sha256, receivedAt: new Date().toISOString(), size, source });
    syncDirectory(dir);
  }

  /** Puts a message that is whole where it belongs. One that is there stays. */
  async #place(dir: string, id: string): Promise<void> {
    const inbox = this.#files.path('inbox');
    makePrivateDirectory(inbox);
    const target = join(inbox, id);
    for (let attempt = 0; ; attempt += 1) {
      try {
        await rename(dir, target);
        break;
      } catch (error) {
        if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errnoOf(error) ?? '') || attempt > 0) throw error;
        if ((await this.#entry('inbox', id)) !== undefined) return;
        // Something that is no message has the name.
        await this.#discard(target);
      }
    }
    syncDirectory(inbox);
    syncDirectory(this.#files.dir);
  }

  // ---- what becomes of it -------------------------------------------------------------------------------------------

  /** Of the inbox. */
  async markRead(id: string): Promise<void> {
    await this.#writing(async () => {
      const dir = this.#files.path('inbox', id);
      try {
        await writeNew(join(dir, 'read'), []);
      } catch (error) {
        if (errnoOf(error) === 'EEXIST') return;
        throw error;
      }
      syncDirectory(dir);
    });
    this.#known.delete(`inbox/${id}`);
  }

  /** Of the inbox: it was taken into the workspace. */
  async markAccepted(id: string, accepted: Accepted): Promise<void> {
    await this.#writing(() => this.#files.replaceText(`inbox/${id}/accepted.json`, accepted));
    this.#known.delete(`inbox/${id}`);
  }

  /** Takes a message out of its box. */
  async remove({ box, id }: BoxEntry): Promise<void> {
    await this.#writing(() => this.#discard(this.#files.path(box, id)));
    this.#known.delete(`${box}/${id}`);
    this.#held = undefined;
  }

  /** Out of its place at once; a crash then leaves what is swept later. */
  async #discard(path: string): Promise<void> {
    const aside = this.#files.path(`new-${randomBytes(8).toString('hex')}`);
    try {
      await rename(path, aside);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    syncDirectory(join(path, '..'));
    await rm(aside, { recursive: true, force: true });
  }

  /**
   * Notes what was sent. The same message sent again is the same entry.
   *
   * @returns Its id.
   * @throws SyftError MESSAGES_FULL, DISK_*.
   */
  async addSent(record: OutboxRecord, detail: Detail): Promise<string> {
    const id = outboxId(record.messageId);
    return this.#writing(async () => {
      await this.checkRoomForSent(record.messageId);
      makePrivateDirectory(this.#files.path('outbox', id));
      await this.#files.replaceText(`outbox/${id}/detail.json`, detail);
      await this.#files.replaceText(`outbox/${id}/record.json`, { version: 1, ...record });
      this.#known.delete(`outbox/${id}`);
      return id;
    });
  }

  /**
   * Asked before a message is delivered, so that none is that could not be noted.
   *
   * @param messageId Of a message that may be noted already.
   * @throws SyftError MESSAGES_FULL.
   */
  async checkRoomForSent(messageId: string): Promise<void> {
    const there = await this.#ids('outbox');
    if (there.length < this.#limits.messages || there.includes(outboxId(messageId))) return;
    throw new SyftError(
      'MESSAGES_FULL',
      `The outbox has ${there.length} messages, and takes no more. Remove some; that takes nothing from whom they were sent to.`
    );
  }

  /** Takes away what attempts that were cut off have left. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#files.dir).catch(() => []);
    const newest = Date.now() - this.#limits.abandonedMs;
    for (const name of names) {
      if (!IN_WORK.test(name)) continue;
      const dir = this.#files.path(name);
      const written = await Promise.all(
        [dir, join(dir, ARCHIVE)].map(async path => (await lstatOf(path))?.mtimeMs ?? 0)
      );
      if (Math.max(...written) < newest) await rm(dir, { recursive: true, force: true });
    }
  }

  async #writing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof SyftError ? error : writeError(error, 'the message box could not be written');
    }
  }
}

function tooFull(totalBytes: number): SyftError {
  return new SyftError(
    'MESSAGES_FULL',
    `The inbox has ${totalBytes} bytes of messages, and takes no more. Remove some.`
  );
}

async function lstatOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Differs when a file was replaced or written to, or a name in a directory was. */
async function printOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await lstat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
