/**
 * SyftMessage archives (`.syft`): a gzip tar that OpenMined's Python packages read too. One version a message: the directory
 * `<id>/` with `data/<path>` and one `<id>.json`, and, when the content is small, a `proposed_file_changes.json` beside it.
 * An archive comes from a stranger: it is verified whole, in a private directory, before anything else sees it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { extract, pack, type Header } from 'tar-stream';
import { isoMicros, versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath, isEscaped, normalizeRelative, parseDisplayPath } from '../core/path-name.ts';
import type { LogReader } from '../log/types.ts';

/** Up to this size the content is repeated in the events member, in base64 where it is not text. */
const EVENTS_LIMIT = 16 * 2 ** 20;
const SYFT_VERSION = '0.1.0';

export interface MessageParties {
  readonly sender: string;
  readonly recipient: string;
}

/** What an import may cost. Bytes. */
export interface ImportLimits {
  readonly members: number;
  readonly memberBytes: number;
  readonly totalBytes: number;
}

export const IMPORT_LIMITS: ImportLimits = { members: 10_000, memberBytes: 2 ** 30, totalBytes: 4 * 2 ** 30 };

/** A file of a verified archive, staged in a private directory. */
export interface ImportedFile {
  /** Workspace path in display form. */
  readonly path: string;
  readonly stagedFile: string;
  readonly hash: string;
  readonly size: number;
  readonly mode?: number;
  /** Version id at the sender, when the archive is one of ours. */
  readonly origin?: string;
}

function invalid(archive: string, why: string): SyftError {
  return new SyftError('ARCHIVE_INVALID', `${basename(archive)} cannot be imported: ${why}. Nothing was written.`, {
    path: archive
  });
}

/** Deterministic: the same version exported twice is the same message. */
function messageId(change: Change, workspace: string): string {
  const digest = createHash('sha256')
    .update(`${workspace} ${versionId(change)}`)
    .digest('hex');
  const stamp = new Date(change.at / 1000).toISOString().replace(/[-:]/g, '').replace('T', '_').slice(0, 15);
  return `msg_${stamp}_${digest.slice(0, 8)}`;
}

/** The member that current OpenMined packages read: one file change event. */
function eventsMember(change: Change, path: string, content: Buffer, who: MessageParties, id: string): Buffer {
  const text = content.toString('utf8');
  const isText = Buffer.from(text, 'utf8').equals(content);
  const seconds = change.at / 1e6;
  const uuid = (salt: string): string => {
    const hex = createHash('sha256').update(`${id} ${salt}`).digest('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  };
  const event = {
    id: uuid('event'),
    path_in_datasite: path,
    datasite_email: who.sender,
    content: isText ? text : content.toString('base64'),
    content_type: isText ? 'text' : 'binary',
    old_hash: change.previousHash ?? null,
    new_hash: change.hash ?? null,
    is_deleted: false,
    submitted_timestamp: seconds,
    timestamp: seconds
  };
  return Buffer.from(
    JSON.stringify({
      canonical_name: 'FileChangeEventsMessage',
      version: '1',
      events: [event],
      message_filepath: { id: uuid('message'), timestamp: seconds, extension: '.tar.gz' }
    })
  );
}

/**
 * Writes one version as a SyftMessage archive, atomically.
 *
 * @param log Where the content is.
 * @param change The version.
 * @param outFile Target; replaced when it is there.
 * @param who Sender and recipient as the message names them.
 * @throws SyftError VERSION_HAS_NO_CONTENT, LOG_DAMAGED, DISK_*.
 */
export async function exportVersion(
  log: LogReader,
  change: Change,
  outFile: string,
  who: MessageParties
): Promise<void> {
  if (change.type !== 'file' || change.content === undefined) {
    throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(change)} has no file content to send.`, {
      path: displayPath(change.path)
    });
  }
  const id = messageId(change, log.workspaceId);
  const path = displayPath(change.path);
  const size = change.size ?? 0;
  const at = isoMicros(change.at).replace('Z', '');
  const metadata = {
    version_id: versionId(change),
    event_type: `file_${change.kind}`,
    timestamp: at,
    file_path: path,
    file_name: basename(path),
    size,
    hash: change.hash ?? '',
    dest_path: null,
    syft_message_id: id,
    has_syft_archive: true,
    message_id: id,
    sender: who.sender,
    recipient: who.recipient,
    created_at: at,
    syft_version: SYFT_VERSION,
    x_syft_sync: {
      workspace: log.workspaceId,
      device: change.device,
      seq: change.seq,
      mode: change.mode,
      mtime: change.mtime,
      files: [{ path, size, hash: change.hash }]
    }
  };
  const temporary = join(dirname(outFile), `.syft-sync-tmp-${randomUUID()}`);
  const tar = pack();
  const common = { uid: 0, gid: 0, mtime: new Date(0) };
  const directory = (name: string): void => void tar.entry({ ...common, name, type: 'directory', mode: 0o755 });
  const file = (name: string, body: Buffer): void => void tar.entry({ ...common, name, mode: 0o644 }, body);
  const write = async (): Promise<void> => {
    directory(`${id}/`);
    directory(`${id}/data/`);
    const kept: Buffer[] = [];
    await new Promise<void>((resolve, reject) => {
      const entry = tar.entry({ ...common, name: `${id}/data/${path}`, size, mode: 0o644 }, error =>
        error ? reject(error) : resolve()
      );
      pipeline(async function* () {
        for await (const piece of log.content(change)) {
          if (size <= EVENTS_LIMIT) kept.push(Buffer.from(piece));
          yield Buffer.from(piece);
        }
      }, entry).catch(reject);
    });
    file(`${id}/${id}.json`, Buffer.from(JSON.stringify(metadata, null, 2)));
    if (size <= EVENTS_LIMIT) {
      file('proposed_file_changes.json', eventsMember(change, path, Buffer.concat(kept), who, id));
    }
    tar.finalize();
  };
  try {
    const writing = write().catch((error: unknown) => {
      tar.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    });
    await Promise.all([
      writing,
      pipeline(tar, createGzip(), createWriteStream(temporary, { mode: 0o600, flags: 'wx' }))
    ]);
    const handle = await open(temporary, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, outFile);
  } finally {
    await rm(temporary, { force: true });
  }
}

interface Member {
  readonly name: string;
  readonly staged: string;
  readonly size: number;
  readonly hash: string;
}

/** A member's name, or the reason why it is refused. */
function checkName(header: Header, seen: Set<string>): string {
  const name = header.name.replace(/\/$/, '');
  if (header.type !== 'file' && header.type !== 'directory') {
    throw new Error(`"${name}" is neither a file nor a directory`);
  }
  if (name.includes('\\') || /^[A-Za-z]:/.test(name) || normalizeRelative(name) !== name) {
    throw new Error(`the name "${name}" leads elsewhere`);
  }
  if (name.length > 4096 || name.split('/').length > 256) throw new Error('a name is too long');
  const folded = name.normalize('NFC').toLowerCase();
  if (header.type === 'file' && seen.has(folded)) throw new Error(`"${name}" is there twice`);
  seen.add(folded);
  return name;
}

async function stage(archive: string, dir: string, limits: ImportLimits): Promise<Member[]> {
  const members: Member[] = [];
  const seen = new Set<string>();
  let total = 0;
  let count = 0;
  const reader = extract();
  const reading = pipeline(createReadStream(archive), createGunzip(), reader);
  reading.catch(() => undefined);
  for await (const entry of reader) {
    const name = checkName(entry.header, seen);
    if (++count > limits.members) throw new Error('it has too many members');
    const staged = join(dir, `member-${count}`);
    const hash = createHash('sha256');
    let size = 0;
    const out = await open(staged, 'wx', 0o600);
    try {
      for await (const piece of entry as AsyncIterable<Buffer>) {
        size += piece.length;
        total += piece.length;
        if (size > limits.memberBytes || total > limits.totalBytes) throw new Error('it is too large');
        hash.update(piece);
        await out.writeFile(piece);
      }
    } finally {
      await out.close();
    }
    if (entry.header.type === 'file') members.push({ name, staged, size, hash: hash.digest('hex') });
    else if (size > 0) throw new Error(`the directory "${name}" has content`);
  }
  await reading;
  return members;
}

async function readJson(member: Member): Promise<Record<string, unknown>> {
  if (member.size > 64 * 2 ** 20) throw new Error('its description is too large');
  const pieces: Buffer[] = [];
  for await (const piece of createReadStream(member.staged)) pieces.push(piece as Buffer);
  const value: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error('its description is not an object');
  }
  return value as Record<string, unknown>;
}

/** The files of a SyftMessage v1, each checked against what the description says. */
async function verified(members: readonly Member[]): Promise<ImportedFile[]> {
  const description = members.filter(member => /^(msg_[^/]+)\/\1\.json$/.test(member.name));
  const [json] = description;
  if (json === undefined || description.length !== 1) throw new Error('it is not one SyftMessage');
  const id = json.name.split('/')[0] ?? '';
  const metadata = await readJson(json);
  const prefix = `${id}/data/`;
  const data = members.filter(member => member.name.startsWith(prefix));
  const stranger = members.find(
    member => member !== json && !data.includes(member) && member.name !== 'proposed_file_changes.json'
  );
  if (stranger !== undefined) throw new Error(`"${stranger.name}" does not belong to the message`);
  const [file] = data;
  if (file === undefined || data.length !== 1) throw new Error('it holds no file, or more than one');
  const { hash, size, file_path: filePath, version_id: origin, x_syft_sync: own } = metadata;
  if (hash !== file.hash || (typeof size === 'number' && size !== file.size)) {
    throw new Error('the content is not what its description says');
  }
  const inArchive = file.name.slice(prefix.length);
  const named = typeof filePath === 'string' && normalizeRelative(filePath) === filePath ? filePath : inArchive;
  if (named !== inArchive && basename(named) !== inArchive) {
    throw new Error('the file is not the one its description names');
  }
  const mode =
    typeof own === 'object' && own !== null && 'mode' in own && typeof own.mode === 'number'
      ? own.mode & 0o777
      : undefined;
  return [
    {
      path: isEscaped(parseDisplayPath(named)) ? parseDisplayPath(named) : named,
      stagedFile: file.staged,
      hash: file.hash,
      size: file.size,
      ...(mode !== undefined && { mode }),
      ...(typeof origin === 'string' && { origin })
    }
  ];
}

/**
 * Verifies a SyftMessage archive whole and stages its files.
 *
 * @param archive The `.syft` or `.tar.gz` file.
 * @param options `stagingDir`: private directory on the file system of the workspace; `limits`: see {@link ImportLimits}.
 * @returns The files; `dispose` removes what was staged.
 * @throws SyftError ARCHIVE_INVALID; nothing is then left behind.
 */
export async function importArchive(
  archive: string,
  options: { stagingDir: string; limits?: Partial<ImportLimits> }
): Promise<{ files: ImportedFile[]; dispose(): Promise<void> }> {
  const present = await stat(archive).catch(() => undefined);
  if (present?.isFile() !== true) {
    throw new SyftError('PATH_NOT_FOUND', `There is no file ${archive}.`, { path: archive });
  }
  const dir = join(options.stagingDir, `archive-${randomUUID()}`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const dispose = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const files = await verified(await stage(archive, dir, { ...IMPORT_LIMITS, ...options.limits }));
    return { files, dispose };
  } catch (error) {
    await dispose();
    if (error instanceof SyftError) throw error;
    throw invalid(archive, error instanceof Error ? error.message : String(error));
  }
}
