/** Messages that go out: what would be sent, what is sent, and the archive of what was. */
import { randomBytes } from 'node:crypto';
import { copyFile, link, lstat, mkdtemp, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { versionId, type Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { baseName, displayPath, parentOf, type PathName } from '../core/path-name.ts';
import { deviceKey } from '../crypto/device-key.ts';
import { addresseesOf, exportMessage, type ExportedMessage, type ExportOptions } from '../library/export-message.ts';
import { absolute } from '../library/restore.ts';
import { isFolder, newestBelow, unrecordedBelow, type Refused } from '../library/share-selection.ts';
import { sentDetail, sentRecord } from '../library/sent-message.ts';
import { belongsToLog } from '../library/workspace.ts';
import type { OutboxEntry } from '../messages/box.ts';
import { Contacts } from '../messages/contacts.ts';
import { syncDirectory, writeError } from '../storage/durable.ts';
import type { PlanMessageRequest, PlanMessageResult, ShareMessageRequest, ShareMessageResult } from './contract.ts';
import type { MessageService } from './message-service.ts';

/** Files of one message. */
const MOST_FILES = 10_000;
/** Refusals that are told of, and names on disk that are looked at for them. */
const MOST_REFUSED = 10_000;
const MOST_LOOKED_AT = 100_000;
/** So many versions are looked up one by one; more are found by going through the log once. */
const FEW = 50;

/** Puts a message into the mailbox at an address. */
export type Deliver = (
  mailbox: string,
  file: string,
  messageId: string,
  options: { readonly signal: AbortSignal }
) => Promise<unknown>;

/** See the file's first lines. */
export class MessageSharing {
  readonly #service: MessageService;
  readonly #deliver: Deliver;

  constructor(service: MessageService, deliver: Deliver) {
    this.#service = service;
    this.#deliver = deliver;
  }

  /** What sharing would send. Throws BAD_REQUEST, PATH_NOT_FOUND, VERSION_NOT_FOUND. */
  async plan(request: PlanMessageRequest, signal: AbortSignal): Promise<PlanMessageResult> {
    const { versions, refused, folders } = await this.#select(request, signal);
    const unrecorded = await this.#unrecorded(folders, signal);
    const { configuration } = this.#service;
    const { sealFor, unsealable } = await addresseesOf(new Contacts(configuration), request.recipients ?? []);
    return {
      files: versions.slice(0, MOST_FILES).map(change => ({
        path: displayPath(change.path),
        versionId: versionId(change),
        size: change.size ?? 0
      })),
      bytes: versions.reduce((sum, { size = 0 }) => sum + size, 0),
      refused: [...refused, ...unrecorded].slice(0, MOST_REFUSED),
      sealed: sealFor.length > 0 && unsealable.length === 0,
      unsealable: [...unsealable]
    };
  }

  /** Makes a message, brings it where it is to go, and notes it in the outbox. */
  async share(request: ShareMessageRequest, signal: AbortSignal): Promise<ShareMessageResult> {
    const { host, box, configuration } = this.#service;
    const { deliver } = request;
    const target = 'path' in deliver ? await this.#target(deliver.path) : undefined;
    const contacts = new Contacts(configuration);
    const mailboxes = 'contact' in deliver ? await contacts.mailboxesOf(deliver.contact) : [];
    // What is on disk now is what is meant.
    if ((request.paths?.length ?? 0) > 0) await this.#flush();
    const { versions } = await this.#select(request, signal);
    checkNumber(versions);
    const recipients = [...(request.recipients ?? [])];
    if ('contact' in deliver && recipients.length === 0) recipients.push(deliver.contact);
    const { note, replyTo, encrypt } = request;
    return this.#withArchive(versions, { recipients, note, replyTo, encrypt }, signal, async (file, exported) => {
      const { size } = await stat(file);
      await box.checkRoomForSent(exported.messageId);
      for (const mailbox of mailboxes) await this.#deliver(mailbox, file, exported.messageId, { signal });
      if (target !== undefined) await placeNew(file, absolute(host.root, target), displayPath(target));
      const record = sentRecord(versions, exported, {
        recipients,
        note,
        replyTo,
        size,
        publicKey: deviceKey(configuration, host.logDir).publicKey.toString('base64'),
        delivered: {
          ...(target !== undefined && { path: displayPath(target) }),
          ...('contact' in deliver && { contact: deliver.contact })
        }
      });
      const id = await box.addSent(record, sentDetail(versions, note));
      host.messagesChanged();
      return {
        id,
        messageId: exported.messageId,
        ...(target !== undefined && { path: displayPath(target) }),
        files: versions.length,
        bytes: exported.bytes,
        sealed: exported.sealed,
        unproven: [...exported.unproven]
      };
    });
  }

  /**
   * The archive of a message that was sent, made anew from its versions.
   *
   * @param use Is given the file, which is gone afterwards.
   * @throws SyftError VERSION_PRUNED, VERSION_ERASED, VERSION_NOT_FOUND where there is something missing of it now.
   */
  async archive<T>({ record }: OutboxEntry, signal: AbortSignal, use: (file: string) => Promise<T>): Promise<T> {
    const versions = await this.#versions(record.versions, signal);
    const { recipients, note, replyTo, sender, sealed: encrypt } = record;
    // As it was sent: whoever has become known since, or was forgotten, makes it neither sealed nor open.
    return this.#withArchive(versions, { recipients, note, replyTo, sender, encrypt }, signal, use);
  }

  // ---- what is sent -------------------------------------------------------------------------------------------------

  async #select(
    { versions = [], paths = [] }: PlanMessageRequest,
    signal: AbortSignal
  ): Promise<{ versions: Change[]; refused: Refused[]; folders: PathName[] }> {
    const { host } = this.#service;
    const selected = new Map<PathName, Change>();
    const refused: Refused[] = [];
    const folders: PathName[] = [];
    for (const change of await this.#versions(versions, signal)) {
      if (selected.has(change.path)) {
        throw new SyftError(
          'BAD_REQUEST',
          `A message has one version of a file, and two are of ${displayPath(change.path)}.`
        );
      }
      selected.set(change.path, change);
    }
    for (const text of paths) {
      const path = this.#service.insidePath(text);
      const change = host.tree.get(path);
      if (change !== undefined && change.type !== 'directory') selected.set(path, selected.get(path) ?? change);
      else if (isFolder(host.tree, path)) {
        const below = newestBelow(host.tree, path, host.reader);
        folders.push(path);
        refused.push(...below.refused);
        for (const found of below.versions) selected.set(found.path, selected.get(found.path) ?? found);
      } else {
        throw new SyftError('PATH_NOT_FOUND', `Nothing is recorded of ${displayPath(path)} now.`, {
          path: displayPath(path)
        });
      }
    }
    if (versions.length + paths.length === 0) {
      throw new SyftError('BAD_REQUEST', 'Say what is to be sent: versions, paths, or both.');
    }
    const chosen = [...selected.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
    return { versions: chosen, refused: refused.filter(({ path }) => !selected.has(path)), folders };
  }

  /** Versions by their ids, in that order. Throws VERSION_NOT_FOUND, VERSION_AMBIGUOUS. */
  async #versions(ids: readonly string[], signal: AbortSignal): Promise<Change[]> {
    const { index, reader } = this.#service.host;
    if (ids.length <= FEW) {
      const found: Change[] = [];
      for (const id of ids) found.push((await index.version(id, { signal })).change);
      return found;
    }
    const wanted = new Set(ids);
    const found = new Map<string, Change>();
    for await (const change of reader.changes()) {
      const id = versionId(change);
      if (wanted.has(id)) found.set(id, change);
    }
    return ids.map(id => {
      const change = found.get(id);
      if (change === undefined) throw new SyftError('VERSION_NOT_FOUND', `There is no version ${id.slice(0, 100)}.`);
      return change;
    });
  }

  async #unrecorded(folders: readonly PathName[], signal: AbortSignal): Promise<Refused[]> {
    const { host } = this.#service;
    if (!host.isRecording) return [];
    const found: Refused[] = [];
    for (const folder of folders) {
      found.push(
        ...(await unrecordedBelow(folder, {
          root: host.root,
          tree: host.tree,
          isRecorded: path => host.isRecorded(path),
          most: MOST_LOOKED_AT,
          signal
        }))
      );
    }
    return found;
  }

  async #flush(): Promise<void> {
    const { host } = this.#service;
    if (host.isRecording) await host.recording().flush();
  }

  // ---- where it goes ------------------------------------------------------------------------------------------------

  /** Where a file of the workspace is to be made, its folder checked. Throws PATH_*, BAD_REQUEST. */
  async #target(text: string): Promise<PathName> {
    const { root, logDir } = this.#service.host;
    const path = this.#service.insidePath(text);
    const shown = displayPath(path);
    if (path === '') throw new SyftError('BAD_REQUEST', 'deliver.path: name a file.');
    const folder = await realpath(absolute(root, parentOf(path))).catch((error: unknown) => {
      throw new SyftError('PATH_NOT_FOUND', `There is no folder ${displayPath(parentOf(path))}.`, {
        path: shown,
        cause: error
      });
    });
    const top = await realpath(root);
    if ((folder !== top && !folder.startsWith(top + sep)) || belongsToLog(folder, logDir)) {
      throw new SyftError('PATH_OUTSIDE_ROOT', `${shown} leads out of the workspace.`, { path: shown });
    }
    if (
      await lstat(absolute(root, path)).then(
        () => true,
        () => false
      )
    ) {
      throw taken(shown);
    }
    return path;
  }

  /** Makes the archive in a place of its own, which is gone afterwards. */
  async #withArchive<T>(
    versions: readonly Change[],
    said: Pick<ExportOptions, 'recipients' | 'note' | 'replyTo' | 'sender' | 'encrypt'>,
    signal: AbortSignal,
    use: (file: string, exported: ExportedMessage) => Promise<T>
  ): Promise<T> {
    const { host, box, configuration } = this.#service;
    const { logDir, keys, reader } = host;
    // Nothing of an encrypted log lies in its directory in the clear, not even for a moment.
    const dir = keys === undefined ? await box.workDirectory() : await mkdtemp(join(tmpdir(), 'syft-sync-share-'));
    try {
      const exported = await exportMessage({ logDir, log: reader, keys }, versions, join(dir, 'archive.syft'), {
        ...said,
        configuration,
        signal
      });
      return await use(exported.file, exported);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
}

function checkNumber(versions: readonly Change[]): void {
  if (versions.length === 0) throw new SyftError('BAD_REQUEST', 'There is nothing in it that can be sent.');
  if (versions.length > MOST_FILES) {
    throw new SyftError('BAD_REQUEST', `A message has at most ${MOST_FILES} files, and these are ${versions.length}.`);
  }
}

function taken(path: string): SyftError {
  return new SyftError('BAD_REQUEST', `There is a file ${path} already; choose another name.`, { path });
}

/** Brings a file to where nothing stands: beside its place first, for that may be another disk. Throws BAD_REQUEST, DISK_*. */
async function placeNew(file: string, target: string | Buffer, shown: string): Promise<void> {
  const path = Buffer.from(target);
  const folder = path.subarray(0, path.lastIndexOf(0x2f));
  const temporary = Buffer.concat([folder, Buffer.from(`/.syft-sync-tmp-${randomBytes(9).toString('hex')}`)]);
  try {
    await copyFile(file, temporary);
    const handle = await open(temporary, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      await link(temporary, path);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') throw taken(shown);
      // A file system without links: what came there in between is not lost for want of a second look.
      if (
        await lstat(path).then(
          () => true,
          () => false
        )
      ) {
        throw taken(shown);
      }
      await rename(temporary, path);
    }
    syncDirectory(folder);
  } catch (error) {
    throw error instanceof SyftError ? error : writeError(error, shown);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** What the archive of a message is called when it is saved. */
export function archiveName(messageId: string | undefined, paths: readonly string[], files: number): string {
  const [first] = paths;
  return files === 1 && first !== undefined ? `${baseName(first)}.syft` : `${messageId ?? 'message'}.syft`;
}
