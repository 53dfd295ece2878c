/** Writes what became of a folder as event messages of syft-client and `syft`. */
import { statSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { versionId } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import type { LogView } from '../library/log-view.ts';
import { MESSAGE_LIMITS } from '../messages/limits.ts';
import { makePrivateDirectory, writeError } from '../storage/durable.ts';
import { changeSet, type LeftOut, type Moment, type NetChange } from './change-set.ts';
import { eventJson, eventMessage } from './event-message.ts';
import { datasiteOf, Permissions } from './permissions.ts';
import { putFile } from './put-file.ts';

const MESSAGE_BYTES = 16 * 2 ** 20;
/** Then the next message begins. */
const MESSAGE_EVENTS = 5000;
/** What a reader takes of JSON, with room for what stands around the events. */
const EVENT_LENGTH = MESSAGE_LIMITS.textBytes - 2 ** 20;

export interface ExportChangesOptions {
  /** Workspace path; `''` is all. It is the datasite: paths of events are relative to it. */
  readonly folder: PathName;
  readonly since?: Moment | undefined;
  readonly until?: Moment | undefined;
  /** Whose datasite it is; default whom the folder is named after, else user@machine. */
  readonly owner?: string | undefined;
  /** Only what this user may read, by syft.pub.yaml as it is now. */
  readonly reader?: string | undefined;
  /** Contents that a message has at most; a larger file has one for itself. Default 16 MiB. */
  readonly messageBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

export interface ExportedChanges {
  readonly messages: readonly { readonly id: string; readonly file: string; readonly events: number }[];
  readonly changes: readonly { readonly path: string; readonly kind: 'created' | 'modified' | 'deleted' }[];
  /** Bytes of contents. */
  readonly bytes: number;
  readonly leftOut: readonly LeftOut[];
  /** The last change of the log that was looked at: the next export may begin behind it. */
  readonly upTo?: string;
}

function kindOf({ before, after }: NetChange): 'created' | 'modified' | 'deleted' {
  if (after === undefined) return 'deleted';
  return before === undefined ? 'created' : 'modified';
}

/** Changes in the order they have, as many to a message as it takes. */
function messagesOf(changes: readonly NetChange[], most: number): NetChange[][] {
  const messages: NetChange[][] = [];
  let bytes = 0;
  for (const change of changes) {
    const size = change.after?.size ?? 0;
    const last = messages.at(-1);
    if (last === undefined || last.length >= MESSAGE_EVENTS || (bytes > 0 && bytes + size > most)) {
      messages.push([change]);
      bytes = size;
    } else {
      last.push(change);
      bytes += size;
    }
  }
  return messages;
}

function split(
  changes: readonly NetChange[],
  view: LogView,
  reader: string | undefined,
  leftOut: LeftOut[]
): NetChange[] {
  const permissions = reader === undefined ? undefined : new Permissions(view.root);
  return changes.filter(({ path, after }) => {
    let why: string | undefined;
    if (reader !== undefined && permissions?.grantOf(path, reader).level === 'none') why = `${reader} may not read it`;
    else if (after !== undefined && view.reader.dropped(after) !== undefined) why = 'its content was dropped';
    // Base64 takes four bytes for three.
    else if (((after?.size ?? 0) / 3) * 4 > EVENT_LENGTH) why = 'it is too large for an event';
    if (why === undefined) return true;
    leftOut.push({ path: displayPath(path), why });
    return false;
  });
}

/**
 * Exports a change set.
 *
 * @param out A folder, made when it is not there; or the name of a file, where all fits into one message.
 * @throws SyftError BAD_REQUEST, PERMISSIONS_INVALID, LOG_DAMAGED, DISK_*, CANCELLED; messages that are written by then are whole.
 */
export async function exportChanges(
  view: LogView,
  out: string,
  { folder, since, until, reader, signal, onProgress, ...options }: ExportChangesOptions
): Promise<ExportedChanges> {
  const set = changeSet(view.changes, folder, since, until);
  const leftOut = [...set.leftOut];
  const changes = split(set.changes, view, reader, leftOut);
  const owner =
    options.owner ?? datasiteOf(join(view.root, displayPath(folder)))?.owner ?? `${userInfo().username}@${hostname()}`;
  const groups = messagesOf(changes, options.messageBytes ?? MESSAGE_BYTES);
  const target = resolve(out);
  const intoFile = target.endsWith('.gz') && statSync(target, { throwIfNoEntry: false })?.isDirectory() !== true;
  if (intoFile && groups.length > 1) {
    throw new SyftError('BAD_REQUEST', `The changes take ${groups.length} messages; name a folder: -o DIR.`);
  }
  const total = changes.reduce((sum, { after }) => sum + (after?.size ?? 0), 0);
  const messages: ExportedChanges['messages'][number][] = [];
  const told: ExportedChanges['changes'][number][] = [];
  let done = 0;
  let previous = 0;
  for (const group of groups) {
    const events: string[] = [];
    for (const change of group) {
      if (signal?.aborted === true) throw new SyftError('CANCELLED', 'The export was given up.');
      const { path, at, before, after } = change;
      const content = after === undefined ? undefined : Buffer.from(await view.reader.contentBytes(after));
      const event = eventJson(
        {
          path: folder === '' ? path : path.slice(folder.length + 1),
          content,
          hash: after?.hash,
          previousHash: before?.hash,
          at
        },
        owner
      );
      done += content?.length ?? 0;
      onProgress?.({ done, total });
      // Text of control characters grows more than base64 does.
      if (Buffer.byteLength(event) > EVENT_LENGTH) {
        leftOut.push({ path: displayPath(path), why: 'it is too large for an event' });
        continue;
      }
      events.push(event);
      told.push({ path: displayPath(path), kind: kindOf(change) });
    }
    if (events.length === 0) continue;
    // Each behind the one before it, for they are applied in the order of their times.
    previous = Math.max(previous + 1, ...group.map(({ at }) => at));
    const { id, fileName, bytes } = await eventMessage(events, previous);
    const file = intoFile ? target : join(target, fileName);
    try {
      if (!intoFile) makePrivateDirectory(target);
    } catch (error) {
      throw writeError(error, `${target} could not be made`);
    }
    putFile(file, bytes, 0o600);
    messages.push({ id, file, events: events.length });
  }
  return {
    messages,
    changes: told,
    bytes: done,
    leftOut,
    ...(set.upTo !== undefined && { upTo: versionId(set.upTo) })
  };
}
