/**
 * Takes the files of a message into a workspace. The message is verified whole before one byte is written; then its files are staged in a
 * private directory while it is gone through once more, and put in place one by one, what stood there recorded before. What goes wrong on
 * the way puts back what was replaced.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { changeToJson, versionId, type Cause, type Change, type ChangeJson } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath, joinPath, type PathName } from '../core/path-name.ts';
import { configurationDirectory, deviceKey } from '../crypto/device-key.ts';
import { writeError } from '../storage/durable.ts';
import { Contacts, senderChanged, wordsOf, type Standing } from '../messages/contacts.ts';
import { EVENTS_MEMBER } from '../messages/description.ts';
import { eventContents, inspect, type Inspected, type MessageFile, type Sender } from '../messages/inspect.ts';
import { faultOfPlace } from '../messages/member-names.ts';
import { ArchiveFault } from '../messages/archive-fault.ts';
import type { ArchiveSource } from '../messages/archive-source.ts';
import { Archive, keeping, type OpenArchiveOptions } from '../messages/read-archive.ts';
import { absolute, type RestoreOutcome } from './restore.ts';
import type { Workspace } from './workspace.ts';

export interface ImportOptions extends OpenArchiveOptions {
  /** Folder of the workspace that its files go below; default the top. */
  readonly to?: PathName | undefined;
  /** Believes a sender who is not known yet, from now on; of a message that is not signed, for this once. */
  readonly trust?: boolean | undefined;
  /**
   * The words of the key that a person was shown before they said that the sender is to be trusted. Another key than that is refused, and so is
   * trust without them (`''`) in a sender who has a key. Absent: whoever trusts has looked for themselves.
   */
  readonly fingerprint?: string | undefined;
  /** Which of its files, by their places from 0; default all. */
  readonly files?: readonly number[] | undefined;
  /** Where contacts and the device key are; default the user's configuration. */
  readonly configuration?: string | undefined;
}

/** What an import did. */
export interface ImportedMessage {
  readonly messageId: string;
  readonly sender: Sender;
  readonly standing: Standing;
  /** Words of the sender's key; absent when the message is not signed. */
  readonly fingerprint?: string;
  readonly note?: string;
  /** What it changed, in the order of the message; a file that was there already is none. */
  readonly changes: readonly ChangeJson[];
  /** Files that were there already, with the same content. */
  readonly unchanged: readonly string[];
  /** Files that the message says were deleted where it comes from, which an import leaves. */
  readonly notDeleted: readonly string[];
}

/** A file and where it goes. */
export interface Placed {
  readonly file: MessageFile;
  readonly path: PathName;
  readonly staged: string;
}

/** Public keys of this installation. */
export function ownKeys(configuration: string, logDir: string): string[] {
  return [deviceKey(configuration, logDir).publicKey.toString('base64')];
}

/** Who a message is from may be believed. Throws SENDER_UNKNOWN, SENDER_CHANGED. */
export async function checkSender(
  contacts: Contacts,
  { sender }: Inspected,
  standing: Standing,
  trust: boolean
): Promise<void> {
  if (standing === 'own' || standing === 'known') return;
  if (standing === 'changed') {
    const before = await contacts.ownerOf(sender.name);
    throw senderChanged(sender.name, before?.publicKey ?? '', sender.publicKey ?? '');
  }
  if (trust) return;
  throw new SyftError(
    'SENDER_UNKNOWN',
    sender.publicKey === undefined
      ? `The message is not signed, and anybody can have made it in the name of ${sender.name}. To take it all the same: --trust.`
      : `The message is from ${sender.name}, key ${wordsOf({ publicKey: sender.publicKey })}, who is not known here. Ask for these words; if they are right: --trust.`
  );
}

/** The key is the one that was shown when it was agreed to. Throws BAD_REQUEST, SENDER_CHANGED. */
function checkFingerprint({ sender }: Inspected, shown: string | undefined): void {
  if (shown === undefined || sender.publicKey === undefined) return;
  const words = wordsOf({ publicKey: sender.publicKey });
  if (shown === words) return;
  if (shown === '') {
    throw new SyftError('BAD_REQUEST', `fingerprint: say which key of ${sender.name} was compared; it is ${words}.`);
  }
  throw new SyftError(
    'SENDER_CHANGED',
    `The message is signed with the key ${words}, and not with ${shown}, which was agreed to. Look at it again.`
  );
}

/** The files that were asked for, in the order of the message. Throws BAD_REQUEST. */
function chosenFiles(files: readonly MessageFile[], chosen: readonly number[] | undefined): readonly MessageFile[] {
  if (chosen === undefined) return files;
  const wrong = chosen.find(place => files[place] === undefined);
  if (wrong !== undefined) {
    throw new SyftError(
      'BAD_REQUEST',
      `files: the message has ${files.length} files, counted from 0, and none ${wrong}.`
    );
  }
  const wanted = new Set(chosen);
  return files.filter((_, place) => wanted.has(place));
}

/**
 * Verifies a message and who it is from as an import does, and writes nothing.
 *
 * @throws SyftError as {@link importMessage}.
 */
export async function checkMessage(
  file: string | ArchiveSource,
  logDir: string,
  options: ImportOptions = {}
): Promise<void> {
  const configuration = options.configuration ?? configurationDirectory();
  const contacts = new Contacts(configuration);
  await using archive = await Archive.open(file, options);
  try {
    const inspected = await inspect(archive);
    const standing = await contacts.standingOf(inspected.sender, ownKeys(configuration, logDir));
    await checkSender(contacts, inspected, standing, options.trust ?? false);
  } catch (error) {
    throw error instanceof ArchiveFault ? archive.invalid(error.message, error) : error;
  }
}

/** Where each file goes, and that nothing is in the way that could not be put aside. Throws PATH_*, RESTORE_ONTO_DIRECTORY. */
async function placesOf(
  workspace: Workspace,
  files: readonly MessageFile[],
  to: PathName,
  stagingDir: string
): Promise<Placed[]> {
  const placed: Placed[] = [];
  for (const [i, file] of files.entries()) {
    const wanted = joinPath(to, file.path);
    const shown = displayPath(wanted);
    const fault = faultOfPlace(wanted);
    if (fault !== undefined) {
      throw new SyftError('PATH_INVALID', `${shown} ${fault}. Nothing was written.`, { path: shown });
    }
    const path = workspace.insidePath(shown);
    const parts = path.split('/');
    for (let n = 1; n <= parts.length; n += 1) {
      const at = parts.slice(0, n).join('/');
      const stats = await lstat(absolute(workspace.root, at)).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      });
      if (stats === undefined) break;
      if (n < parts.length && !stats.isDirectory()) {
        throw new SyftError(
          'PATH_INVALID',
          `${shown} cannot be put there: ${displayPath(at)} is not a directory. Nothing was written.`,
          {
            path: shown
          }
        );
      }
      if (n === parts.length && stats.isDirectory()) {
        throw new SyftError('RESTORE_ONTO_DIRECTORY', `${shown} is a directory here. Nothing was written.`, {
          path: shown
        });
      }
    }
    placed.push({ file, path, staged: join(stagingDir, String(i)) });
  }
  return placed;
}

/** What the system said of a file of ours, and not a parser of the message. */
function isSystemError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error;
}

/** Goes through the message again, and stages what is to be placed. @throws ArchiveFault when it is not what it was. */
export async function stageFiles(archive: Archive, inspected: Inspected, placed: readonly Placed[]): Promise<void> {
  const byMember = new Map(
    placed.flatMap(place => ('member' in place.file.source ? [[place.file.source.member, place] as const] : []))
  );
  const events = keeping(name => name === EVENTS_MEMBER && byMember.size < placed.length, archive.limits);
  const members = await archive.read(name => {
    const place = byMember.get(name);
    if (place === undefined) return events.take(name);
    return async pieces => {
      try {
        await pipeline(pieces, createWriteStream(place.staged, { mode: 0o600, flags: 'wx' }));
      } catch (error) {
        // A full disk is no fault of the message.
        throw isSystemError(error) ? writeError(error, displayPath(place.path)) : error;
      }
    };
  });
  const same =
    members.length === inspected.members.length &&
    members.every((member, i) => {
      const before = inspected.members[i];
      return member.name === before?.name && member.hash === before.hash && member.size === before.size;
    });
  if (!same) throw new ArchiveFault('it changed while it was being read');
  const bytes = events.kept.get(EVENTS_MEMBER);
  const contents = bytes === undefined ? [] : eventContents(bytes, archive.limits);
  for (const { file, staged } of placed) {
    if (!('event' in file.source)) continue;
    await writeFile(staged, contents[file.source.event] ?? Buffer.alloc(0), { mode: 0o600, flag: 'wx' });
  }
}

/** The version that a file of a message is taken for while it is placed. */
function versionOf({ file, path }: Placed): Change {
  return {
    ...{
      device: 'imported',
      seq: 0,
      kind: 'created',
      path,
      at: 0,
      hlc: 0,
      type: 'file',
      size: file.size,
      hash: file.hash
    },
    // Bits that lend rights to whoever runs it are not taken from anybody.
    mode: (file.mode ?? 0o644) & 0o777,
    ...(file.mtime !== undefined && { mtime: file.mtime }),
    flags: []
  };
}

/** Puts back what was there, newest first. What cannot be put back is recorded, and can be restored by hand. */
async function putBack(workspace: Workspace, done: readonly RestoreOutcome[]): Promise<void> {
  for (const outcome of done.toReversed()) {
    if (outcome.unchanged) continue;
    try {
      if (outcome.replaced !== undefined) {
        await workspace.restoreTo(outcome.replaced, { to: outcome.path });
      } else if (outcome.change !== undefined) {
        await workspace.remove({ path: displayPath(outcome.path), ifVersion: versionId(outcome.change) });
      }
    } catch {
      // The error that brought us here is the one to tell of.
    }
  }
}

/**
 * Imports a message.
 *
 * @param workspace An open workspace that records.
 * @param file The `.syft` file, or where its bytes come from, which is closed.
 * @throws SyftError ARCHIVE_INVALID, SENDER_UNKNOWN, SENDER_CHANGED, KEY_MISSING, KEY_MISMATCH, PATH_*, RESTORE_*, DISK_*, BAD_REQUEST,
 *   CANCELLED; then the workspace is as it was.
 */
export async function importMessage(
  workspace: Workspace,
  file: string | ArchiveSource,
  options: ImportOptions = {}
): Promise<ImportedMessage> {
  const { to = '', trust = false, signal } = options;
  const configuration = options.configuration ?? configurationDirectory();
  const contacts = new Contacts(configuration);
  await using archive = await Archive.open(file, options);
  let stagingDir: string | undefined;
  try {
    const inspected = await inspect(archive);
    const { sender, id, note } = inspected;
    const standing = await contacts.standingOf(sender, ownKeys(configuration, workspace.logDir));
    checkFingerprint(inspected, options.fingerprint);
    await checkSender(contacts, inspected, standing, trust);
    const files = chosenFiles(inspected.files, options.files);
    await mkdir(workspace.stagingDir, { recursive: true, mode: 0o700 });
    // Looked at before anything is staged: what is in the way shows while nothing has been written.
    await placesOf(workspace, files, to, '');
    stagingDir = await mkdtemp(join(workspace.stagingDir, 'import-'));
    const placed = await placesOf(workspace, files, to, stagingDir);
    await stageFiles(archive, inspected, placed);
    const done: RestoreOutcome[] = [];
    try {
      for (const place of placed) {
        if (signal?.aborted === true) throw new SyftError('CANCELLED', 'The import was given up.');
        const from = place.file.versionId;
        const cause: Cause = { kind: 'message', message: id, ...(from !== undefined && { version: from }) };
        done.push(await workspace.restoreContent(versionOf(place), () => createReadStream(place.staged), cause));
      }
    } catch (error) {
      await putBack(workspace, done);
      throw error;
    }
    if (standing === 'new' && sender.publicKey !== undefined) {
      await contacts.add({ name: sender.name, publicKey: sender.publicKey });
    }
    return {
      messageId: id,
      sender,
      standing,
      ...(sender.publicKey !== undefined && { fingerprint: wordsOf({ publicKey: sender.publicKey }) }),
      ...(note !== undefined && { note }),
      changes: done.flatMap(({ change }) => (change === undefined ? [] : [changeToJson(change)])),
      unchanged: done.filter(outcome => outcome.unchanged).map(({ path }) => displayPath(path)),
      notDeleted: (inspected.deletions ?? []).map(({ path }) => displayPath(path))
    };
  } catch (error) {
    if (error instanceof ArchiveFault) throw archive.invalid(error.message, error);
    throw error instanceof SyftError ? error : writeError(error, 'the message could not be taken into the workspace');
  } finally {
    if (stagingDir !== undefined) await rm(stagingDir, { recursive: true, force: true });
  }
}
