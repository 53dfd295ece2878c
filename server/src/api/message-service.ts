/** What the API does with messages: the box of the log, judged against the contacts and the workspace as they are now. */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import {
  decodePath,
  displayPath,
  joinPath,
  normalizeRelative,
  parseDisplayPath,
  type PathName
} from '../core/path-name.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import { identitiesFromFile } from '../crypto/age.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import type { HistoryQueries } from '../index/history-queries.ts';
import { importMessage, ownKeys } from '../library/import-message.ts';
import { absolute } from '../library/restore.ts';
import { isOnDisk } from '../library/share-selection.ts';
import { VERSION } from '../library/version.ts';
import { belongsToLog, type Workspace } from '../library/workspace.ts';
import type { OpenReader } from '../log/types.ts';
import { FileSource, type ArchiveSource } from '../messages/archive-source.ts';
import {
  boxId,
  MessageBox,
  type BoxEntry,
  type BoxLimits,
  type Identities,
  type InboxEntry,
  type MessageSource
} from '../messages/box.ts';
import { Contacts, senderChanged, wordsOf, type Standing } from '../messages/contacts.ts';
import { EVENTS_MEMBER } from '../messages/description.ts';
import { eventContents } from '../messages/inspect.ts';
import { judge, type Detail, type Judged, type ListedFile, type Verdict } from '../messages/judge.ts';
import { Archive, keeping } from '../messages/read-archive.ts';
import type {
  AcceptMessageRequest,
  ImportResult,
  MessageDetail,
  MessageFileDto,
  MessagesPage,
  MessageState,
  MessageSummary
} from './contract.ts';
import { kindOfFile } from './kind-of-file.ts';

/** The workspace, as far as messages need it. */
export interface MessageHost {
  readonly root: string;
  readonly logDir: string;
  /** Throws while there is no log to read. */
  readonly reader: OpenReader;
  /** Of an encrypted log. */
  readonly keys: LogKeys | undefined;
  readonly tree: ReadonlyTree;
  readonly index: HistoryQueries;
  readonly isRecording: boolean;
  /** Throws when this process does not record. */
  recording(): Workspace;
  /** False when the path is excluded or outside the recorded folders. */
  isRecorded(path: PathName): boolean;
  /** A box changed. */
  messagesChanged(): void;
}

export interface MessageServiceOptions {
  /** Where contacts and the device key are; default the user's configuration. */
  readonly configuration?: string | undefined;
  /** A file with age identities; messages that are sealed for them are opened. It may come later. */
  readonly identityFile?: string | undefined;
  readonly limits?: Partial<BoxLimits> | undefined;
}

/** A message that was asked for: in the box, or a file of the workspace. */
interface Found {
  readonly summary: MessageSummary;
  readonly detail: Detail;
  /** Opens the archive; absent of what was sent, which is made anew when it is wanted. */
  readonly open?: () => Promise<ArchiveSource>;
}

/** Looked at for what is gone here; a message with more of them says `missing` of the rest. */
const DELETED_ASKED = 5000;
const STATE_OF: Record<Standing, MessageState> = {
  own: 'verified',
  known: 'verified',
  new: 'new-sender',
  changed: 'changed-sender',
  unsigned: 'unsigned'
};

/** See the file's first lines. */
export class MessageService {
  readonly configuration: string;
  readonly host: MessageHost;
  readonly #options: MessageServiceOptions;
  /** The file that was looked at last. */
  #looked: (JudgedFile & { readonly print: string }) | undefined;
  #box: { readonly logDir: string; readonly keys: LogKeys | undefined; readonly box: MessageBox } | undefined;

  constructor(host: MessageHost, options: MessageServiceOptions = {}) {
    this.host = host;
    this.#options = options;
    this.configuration = options.configuration ?? configurationDirectory();
  }

  /** The box of the log. Throws while there is no log. */
  get box(): MessageBox {
    const { logDir, keys, reader } = this.host;
    // Without a log there is none: a box alone in a directory would be taken for something strange there.
    void reader.workspaceId;
    if (this.#box?.logDir !== logDir || this.#box.keys !== keys) {
      const box = new MessageBox({
        logDir,
        keys,
        program: VERSION,
        identities: () => this.#identities(),
        limits: this.#options.limits
      });
      this.#box = { logDir, keys, box };
      // Where that fails now, whoever receives the next message tries again, and is told.
      void box.sweep().catch(() => undefined);
    }
    return this.#box.box;
  }

  /** What opens sealed messages now: the file may be put there, or replaced, at any time. */
  #identities(): Identities {
    const { identityFile: path } = this.#options;
    if (path === undefined) return { list: [], print: '' };
    const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
    if (stats === undefined) return { list: [], print: '' };
    const print = `${path}:${stats.ino}:${stats.size}:${stats.mtimeNs}`;
    try {
      return { list: identitiesFromFile(path), print };
    } catch (error) {
      if (!(error instanceof SyftError)) throw error;
      // Messages that are not sealed need none.
      return { list: [], print, problem: error.message };
    }
  }

  // ---- looking ------------------------------------------------------------------------------------------------------

  async list(query: {
    readonly box?: 'inbox' | 'outbox' | undefined;
    readonly q?: string | undefined;
    readonly limit: number;
    readonly before?: string | undefined;
  }): Promise<MessagesPage> {
    const { box: name, q, limit, before } = query;
    const all = await this.box.list();
    const wanted = q === undefined || q === '' ? undefined : folded(q);
    const matching = all.filter(
      entry => (name === undefined || entry.box === name) && (wanted === undefined || mentions(entry, wanted))
    );
    const from = before === undefined ? matching : matching.filter(entry => placeOf(entry) < before);
    const page = from.slice(0, limit);
    const last = page.at(-1);
    return {
      messages: await Promise.all(page.map(entry => this.summaryOf(entry))),
      total: matching.length,
      unread: unreadIn(all),
      ...(last !== undefined && page.length < from.length && { next: placeOf(last) })
    };
  }

  /** Messages of the inbox that nobody has looked at. */
  async unread(): Promise<number> {
    return unreadIn(await this.box.list('inbox'));
  }

  /** How an entry is shown now: how well a sender is known may have changed since it came. */
  async summaryOf(entry: BoxEntry): Promise<MessageSummary> {
    if (entry.box === 'outbox') {
      const { record } = entry;
      return {
        id: entry.id,
        box: 'outbox',
        state: 'verified',
        messageId: record.messageId,
        form: 'syft-sync',
        sender: {
          name: record.sender,
          publicKey: record.publicKey,
          fingerprint: wordsOf(record),
          own: true
        },
        recipients: record.recipients,
        ...(record.note !== undefined && { note: record.note }),
        ...(record.replyTo !== undefined && { replyTo: record.replyTo }),
        ...(record.at !== undefined && { at: record.at }),
        receivedAt: record.sentAt,
        read: true,
        size: entry.size,
        sealed: record.sealed,
        files: record.versions.length,
        bytes: record.bytes,
        paths: record.paths,
        delivered: record.delivered
      };
    }
    return {
      id: entry.id,
      box: 'inbox',
      ...(await this.#shown(entry.verdict)),
      receivedAt: entry.at,
      read: entry.read,
      size: entry.size,
      ...(entry.accepted !== undefined && { accepted: entry.accepted }),
      source: entry.source
    };
  }

  async #shown(
    verdict: Verdict
  ): Promise<
    Omit<MessageSummary, 'id' | 'box' | 'receivedAt' | 'read' | 'size' | 'accepted' | 'source' | 'delivered'>
  > {
    const { state, problem, sender: from, ...rest } = verdict;
    if (state !== 'whole' || from === undefined) {
      return { ...rest, state: state === 'locked' ? 'locked' : 'altered', ...(problem !== undefined && { problem }) };
    }
    const { name, publicKey } = from;
    const sender = { name, ...(publicKey !== undefined && { publicKey }) };
    const contacts = new Contacts(this.configuration);
    const standing = await contacts.standingOf(sender, ownKeys(this.configuration, this.host.logDir));
    // A contact is called as it is known here, whatever it calls itself.
    const contact = standing === 'known' ? await contacts.withKey(publicKey ?? '') : undefined;
    const shown = {
      ...rest,
      state: STATE_OF[standing],
      sender: {
        ...sender,
        ...(contact !== undefined && { name: contact.name }),
        ...(publicKey !== undefined && { fingerprint: wordsOf({ publicKey }) }),
        own: standing === 'own'
      }
    };
    if (standing !== 'changed') return shown;
    const before = (await contacts.ownerOf(name))?.publicKey ?? '';
    return { ...shown, problem: senderChanged(name, before, publicKey ?? '').message };
  }

  /**
   * A message of the box with all that is known of it.
   *
   * @param to Folder of the workspace at which its files are compared.
   */
  async get(id: string, to?: string): Promise<MessageDetail> {
    const entry = await this.box.get(id);
    const detail = await this.#detailOf(await this.#foundIn(entry), to);
    if (entry.box === 'inbox' && !entry.read) {
      await this.box.markRead(id);
      this.host.messagesChanged();
    }
    return { ...detail, read: true };
  }

  async #foundIn(entry: BoxEntry): Promise<Found> {
    const detail = await this.box.detail(entry);
    const summary = await this.summaryOf(entry);
    return entry.box === 'outbox' ? { summary, detail } : { summary, detail, open: () => this.box.open(entry) };
  }

  /** A `.syft` file in the workspace, without taking it into the inbox. */
  async inspect(path: string, to: string | undefined, signal: AbortSignal): Promise<MessageDetail> {
    return this.#detailOf(await this.#foundAt(path, signal), to);
  }

  async #foundAt(path: string, signal: AbortSignal): Promise<Found> {
    const file = await this.fileInside(path);
    const stats = await lstat(file, { bigint: true });
    const identities = this.#identities();
    const print = [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs, identities.print].join(':');
    const { id, verdict, detail } =
      this.#looked?.print === print ? this.#looked : await judgeFile(file, identities.list, signal);
    // Of a message that is looked at, one file after the other is asked for.
    this.#looked = { print, id, verdict, detail };
    const summary: MessageSummary = {
      id,
      box: 'inbox',
      ...(await this.#shown(verdict)),
      receivedAt: new Date(Number(stats.mtimeMs)).toISOString(),
      read: true,
      size: Number(stats.size),
      source: 'file'
    };
    return { summary, detail, open: () => FileSource.open(file) };
  }

  async #detailOf({ summary, detail }: Found, to: string | undefined): Promise<MessageDetail> {
    const { note, fileList, proven, claimed } = detail;
    return {
      ...summary,
      ...(note !== undefined && { note }),
      fileList: await this.#compared(fileList, to === undefined ? '' : this.insidePath(to)),
      proven,
      claimed
    };
  }

  /** What stands here where the files of a message would go. */
  async #compared(files: readonly ListedFile[], to: PathName): Promise<MessageFileDto[]> {
    const { tree, root } = this.host;
    let gone: ReadonlyMap<PathName, Change> | undefined;
    const compared: MessageFileDto[] = [];
    for (const file of files) {
      const { path, hash, size, versionId: version } = file;
      const at = joinPath(to, exactPath(file));
      const there = tree.get(at);
      let here: Pick<MessageFileDto, 'here' | 'hereVersionId'>;
      if (there !== undefined) {
        const same = there.type === 'file' && there.hash === hash;
        here = { here: same ? 'same' : 'different', hereVersionId: versionId(there) };
      } else if (await isOnDisk(root, at)) {
        // It is there and not recorded: excluded, or not yet.
        here = { here: 'different' };
      } else {
        gone ??= await this.#deleted(to);
        const last = gone.get(at);
        here = last === undefined ? { here: 'missing' } : { here: 'deleted', hereVersionId: versionId(last) };
      }
      compared.push({
        path,
        ...(file.pathBase64 !== undefined && { pathBase64: file.pathBase64 }),
        size,
        hash: `sha256:${hash}`,
        ...(version !== undefined && { versionId: version }),
        kind: kindOfFile(path),
        ...here
      });
    }
    return compared;
  }

  async #deleted(under: PathName): Promise<ReadonlyMap<PathName, Change>> {
    const deleted = await this.host.index.deleted({ ...(under !== '' && { under }), limit: DELETED_ASKED });
    return new Map(deleted.map(({ path, last }) => [path, last.change]));
  }

  // ---- taking in ----------------------------------------------------------------------------------------------------

  /** Takes a message into the inbox. */
  async receive(bytes: AsyncIterable<Uint8Array>, source: MessageSource, signal: AbortSignal): Promise<MessageSummary> {
    const { entry, fresh } = await this.box.receive(bytes, source, signal);
    if (fresh) this.host.messagesChanged();
    return this.summaryOf(entry);
  }

  async receiveFile(path: string, signal: AbortSignal): Promise<MessageSummary> {
    const file = await this.fileInside(path);
    await using source = await FileSource.open(file);
    return await this.receive(source.bytes(), 'file', signal);
  }

  async remove(id: string): Promise<void> {
    await this.box.remove(await this.box.get(id));
    this.host.messagesChanged();
  }

  /** Writes files of a message into the workspace, and records them. */
  async accept(request: AcceptMessageRequest, signal: AbortSignal): Promise<ImportResult> {
    const { to, trust = false, fingerprint, files } = request;
    const workspace = this.host.recording();
    const folder = to === undefined ? '' : this.insidePath(to);
    const entry = request.id === undefined ? undefined : inInbox(await this.box.get(request.id));
    const source =
      entry === undefined
        ? await FileSource.open(await this.fileInside(request.path ?? ''))
        : await this.box.open(entry);
    const { changes, unchanged, notDeleted, ...rest } = await importMessage(workspace, source, {
      to: folder,
      trust,
      // What a person agreed to is what is believed from then on, and nothing that came in its place.
      fingerprint: fingerprint ?? (trust ? '' : undefined),
      files,
      identities: this.#identities().list,
      configuration: this.configuration,
      signal
    });
    if (entry !== undefined) {
      await this.box.markAccepted(entry.id, {
        at: new Date().toISOString(),
        ...(folder !== '' && { to: displayPath(folder) }),
        changes: changes.length
      });
    }
    this.host.messagesChanged();
    return { ...rest, changes: [...changes], unchanged: [...unchanged], notDeleted: [...notDeleted] };
  }

  /**
   * The content of a file of a message that holds.
   *
   * @param file Its place.
   * @throws SyftError ARCHIVE_INVALID, KEY_MISSING when the message is not whole, NOT_FOUND.
   */
  async content(
    which: { readonly id: string } | { readonly path: string },
    file: number,
    signal: AbortSignal
  ): Promise<{ readonly file: ListedFile; readonly pieces: (signal: AbortSignal) => AsyncIterable<Uint8Array> }> {
    const found =
      'id' in which
        ? await this.#foundIn(inInbox(await this.box.get(which.id)))
        : await this.#foundAt(which.path, signal);
    const { summary, detail, open } = found;
    if (summary.state === 'altered' || summary.state === 'locked') {
      const code = summary.state === 'altered' ? 'ARCHIVE_INVALID' : 'KEY_MISSING';
      throw new SyftError(code, summary.problem ?? 'The message cannot be opened.');
    }
    const listed = detail.fileList[file];
    if (listed === undefined || open === undefined) {
      throw new SyftError('NOT_FOUND', `The message has no file ${file} that could be shown; they are counted from 0.`);
    }
    const identities = this.#identities().list;
    return { file: listed, pieces: stop => contentIn(open, listed, identities, stop) };
  }

  // ---- paths --------------------------------------------------------------------------------------------------------

  /** A path from outside → a workspace path. Throws PATH_OUTSIDE_ROOT, PATH_INVALID for what belongs to the log. */
  insidePath(text: string): PathName {
    if (text === '' || text === '.') return '';
    const literal = text.isWellFormed() ? normalizeRelative(text) : undefined;
    if (literal === undefined) {
      throw new SyftError('PATH_OUTSIDE_ROOT', 'The path does not name a file inside the workspace.', {
        path: text.toWellFormed()
      });
    }
    if (belongsToLog(join(this.host.root, literal), this.host.logDir)) {
      throw new SyftError('PATH_INVALID', `${displayPath(literal)} belongs to the log.`, {
        path: displayPath(literal)
      });
    }
    const { tree } = this.host;
    const escaped = parseDisplayPath(literal);
    return escaped !== literal && tree.has(escaped) && !tree.has(literal) ? escaped : literal;
  }

  /** A file of the workspace as an absolute path, links on the way followed. Throws PATH_*. */
  async fileInside(text: string): Promise<string> {
    const path = this.insidePath(text);
    const root = await realpath(this.host.root);
    let real: string;
    try {
      real = await realpath(absolute(this.host.root, path));
    } catch (error) {
      throw new SyftError('PATH_NOT_FOUND', `There is no file ${displayPath(path)}.`, {
        path: displayPath(path),
        cause: error
      });
    }
    if (!real.startsWith(root + sep) || belongsToLog(real, this.host.logDir)) {
      throw new SyftError('PATH_OUTSIDE_ROOT', `${displayPath(path)} leads out of the workspace.`, {
        path: displayPath(path)
      });
    }
    return real;
  }
}

function inInbox(entry: BoxEntry): InboxEntry {
  if (entry.box === 'inbox') return entry;
  throw new SyftError('BAD_REQUEST', 'This message is one that was sent from here.');
}

function unreadIn(entries: readonly BoxEntry[]): number {
  return entries.filter(entry => entry.box === 'inbox' && !entry.read).length;
}

/** What a message comes after in a list; compared as text. */
function placeOf({ at, id }: BoxEntry): string {
  return `${at}.${id}`;
}

function folded(text: string): string {
  return text.toWellFormed().normalize('NFC').toLowerCase();
}

function mentions(entry: BoxEntry, wanted: string): boolean {
  const { sender, note, replyTo, messageId, recipients, paths } =
    entry.box === 'outbox' ? { ...entry.record, sender: { name: entry.record.sender } } : entry.verdict;
  return [sender?.name, note, replyTo, messageId, ...recipients, ...paths].some(
    text => text !== undefined && folded(text).includes(wanted)
  );
}

function exactPath({ path, pathBase64 }: ListedFile): PathName {
  return pathBase64 === undefined ? path : decodePath(Buffer.from(pathBase64, 'base64'));
}

type JudgedFile = Judged & { readonly id: string };

async function judgeFile(path: string, identities: readonly string[], signal: AbortSignal): Promise<JudgedFile> {
  const hash = createHash('sha256');
  await using source = await FileSource.open(path);
  for await (const piece of source.bytes()) {
    if (signal.aborted) throw new SyftError('CANCELLED', 'Reading the message was given up.');
    hash.update(piece);
  }
  return { id: boxId(hash.digest('hex')), ...(await judge(await FileSource.open(path), { identities, signal })) };
}

/** The bytes of one file of an archive, held against their hash when the last of them has been asked for. */
async function* contentIn(
  open: () => Promise<ArchiveSource>,
  { source, size, hash: said }: ListedFile,
  identities: readonly string[],
  signal: AbortSignal
): AsyncGenerator<Uint8Array> {
  const enough = new AbortController();
  await using archive = await Archive.open(await open(), {
    identities,
    signal: AbortSignal.any([signal, enough.signal])
  });
  if (source === undefined) return;
  if ('event' in source) {
    const events = keeping(name => name === EVENTS_MEMBER, archive.limits);
    await archive.read(events.take);
    const bytes = events.kept.get(EVENTS_MEMBER);
    const content = bytes === undefined ? undefined : eventContents(bytes, archive.limits)[source.event];
    if (content !== undefined) yield content;
    return;
  }
  const passed = new PassThrough({ highWaterMark: 256 * 1024 });
  const reading = archive
    .read(name => (name === source.member ? pieces => pipeline(pieces, passed, { end: false }) : undefined))
    .then(
      () => passed.end(),
      (error: unknown) => passed.destroy(error instanceof Error ? error : new Error(String(error)))
    );
  try {
    const hash = createHash('sha256');
    let done = 0;
    for await (const piece of passed as AsyncIterable<Buffer>) {
      done += piece.length;
      hash.update(piece);
      yield piece;
      // What follows in the archive is no longer of interest.
      if (done >= size) break;
    }
    if (hash.digest('hex') !== said) throw new SyftError('ARCHIVE_INVALID', 'The message is not what it was any more.');
  } finally {
    enough.abort();
    passed.destroy();
    await reading;
  }
}
