/**
 * What a message is, before anything of it is written: its files, who it says it is from, what is proven of it and what is only claimed.
 * Needs nothing but the file. Understands ours, SyftMessage v1 of OpenMined's syft-sync and syft-client, and the event messages of
 * syft-client and syft 0.10.
 */
import { createHash } from 'node:crypto';
import { isoMicros, versionId } from '../core/change.ts';
import { decodePath, displayPath, normalizeRelative, type PathName } from '../core/path-name.ts';
import { decodeProof, verifyInclusionProof, type Proven } from '../log/prove.ts';
import { EVENTS_MEMBER } from './description.ts';
import { fingerprint } from './fingerprint.ts';
import type { MessageLimits } from './limits.ts';
import { MANIFEST_MEMBER, openManifest, SIGNATURE_MEMBER, type Manifest, type ManifestFile } from './manifest.ts';
import { faultOfPath } from './member-names.ts';
import { ArchiveFault } from './archive-fault.ts';
import { Names } from './names.ts';
import { Archive, keeping, type Member, type OpenArchiveOptions } from './read-archive.ts';

/** Something that follows from the bytes of the message, or that it only says. */
export interface Fact {
  readonly fact:
    | 'contents'
    | 'signature'
    | 'recorded'
    | 'sender'
    | 'recipients'
    | 'note'
    | 'reply'
    | 'time'
    | 'path'
    | 'cause'
    | 'deletion';
  /** A sentence. */
  readonly text: string;
  /** The file it is about. */
  readonly path?: string;
  /** What the sentence is about, for programs. */
  readonly value?: string | number;
}

/** A file that a message says is gone. */
export interface Deletion {
  readonly path: PathName;
  /** SHA-256 of what was there, hex; absent: it does not say. */
  readonly previousHash?: string;
}

/** A file of a message. */
export interface MessageFile {
  /** Where it was at the sender, as a workspace path. */
  readonly path: PathName;
  readonly size: number;
  /** SHA-256, hex. */
  readonly hash: string;
  readonly mode?: number;
  /** Microseconds since the epoch. */
  readonly mtime?: number;
  /** Its version at the sender. */
  readonly versionId?: string;
  readonly previousHash?: string;
  /** Where its content is: a member, or the event at a place in the events member. */
  readonly source: { readonly member: string } | { readonly event: number };
}

export interface Sender {
  readonly name: string;
  /** Ed25519, base64; absent: the message is not signed. */
  readonly publicKey?: string;
}

export interface Inspected {
  readonly id: string;
  readonly form: 'syft-sync' | 'SyftMessage v1' | 'syft events';
  /** Only its recipients could open it. */
  readonly sealed: boolean;
  readonly sender: Sender;
  readonly recipients: readonly string[];
  readonly note?: string;
  readonly replyTo?: string;
  /** When the newest of its files was recorded, by the sender's clock. */
  readonly at?: string;
  readonly files: readonly MessageFile[];
  /** Only of events. */
  readonly deletions?: readonly Deletion[];
  readonly proven: readonly Fact[];
  readonly claimed: readonly Fact[];
  /** All members, as they were read. */
  readonly members: readonly Member[];
}

type Json = Record<string, unknown>;

/** JSON of a stranger: an object, and no deeper than it may be. */
function parseObject(bytes: Buffer, name: string, limits: MessageLimits): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ArchiveFault(`"${name}" is not UTF-8`, { cause: error });
  }
  let depth = 0;
  let inText = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (inText) {
      if (c === '\\') i += 1;
      else if (c === '"') inText = false;
    } else if (c === '"') inText = true;
    else if (c === '{' || c === '[') {
      depth += 1;
      if (depth > limits.nesting) throw new ArchiveFault(`"${name}" is nested more than ${limits.nesting} deep`);
    } else if (c === '}' || c === ']') depth -= 1;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ArchiveFault(`"${name}" is not JSON`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArchiveFault(`"${name}" is not an object`);
  }
  return value as Json;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= 100_000 ? value.toWellFormed() : undefined;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The path that a file is to have here. @throws ArchiveFault */
function pathOf(text: string, base64?: string): PathName {
  const path = base64 === undefined ? text : decodePath(Buffer.from(base64, 'base64'));
  const shown = JSON.stringify(displayPath(path).slice(0, 200));
  const fault = faultOfPath(path);
  if (fault !== undefined) throw new ArchiveFault(`${shown} ${fault}`);
  return path;
}

/** No two files fall together where they are to be put. @throws ArchiveFault */
function checkPaths(files: readonly MessageFile[]): void {
  const names = new Names();
  for (const { path } of files) names.add(displayPath(path), 'file');
}

/** What else is in the archive than what belongs to it. @throws ArchiveFault */
function checkMembers(members: readonly Member[], belonging: ReadonlySet<string>): void {
  const parents = new Set<string>();
  for (const name of belonging) {
    for (let end = name.indexOf('/'); end > 0; end = name.indexOf('/', end + 1)) parents.add(name.slice(0, end));
  }
  for (const { name, kind } of members) {
    if (kind === 'file' ? !belonging.has(name) : !parents.has(name)) {
      throw new ArchiveFault(`${JSON.stringify(name)} does not belong to the message`);
    }
  }
}

/** The proof of a file, held against the manifest. @throws ArchiveFault */
function provenRecord(file: ManifestFile, path: PathName): (Proven & { publicKey: Buffer }) | undefined {
  if (file.proof === undefined) return undefined;
  const shown = JSON.stringify(file.path);
  let proof: ReturnType<typeof decodeProof>;
  try {
    proof = decodeProof(file.proof);
  } catch (error) {
    throw new ArchiveFault(`the proof of ${shown} is not one`, { cause: error });
  }
  const proven = verifyInclusionProof(proof);
  if (proven === undefined) throw new ArchiveFault(`the proof of ${shown} proves nothing`);
  const { change } = proven;
  const same =
    versionId(change) === file.versionId &&
    change.path === path &&
    change.hash === file.hash &&
    change.size === file.size &&
    change.kind === file.kind &&
    change.at === file.at &&
    change.previousHash === file.previousHash &&
    change.mode === file.mode &&
    change.mtime === file.mtime;
  if (!same) throw new ArchiveFault(`the proof of ${shown} is that of another version`);
  return { ...proven, publicKey: proof.publicKey };
}

/** What a manifest says of its files, each held against the archive. @throws ArchiveFault */
function filesOf(manifest: Manifest, members: ReadonlyMap<string, Member>): MessageFile[] {
  const { id } = manifest;
  const seen = new Set<string>();
  return manifest.files.map(file => {
    const member = `${id}/data/${file.member}`;
    const found = members.get(member);
    const shown = JSON.stringify(file.path);
    if (found?.kind !== 'file') throw new ArchiveFault(`the content of ${shown} is missing`);
    if (seen.has(member)) throw new ArchiveFault(`two files have the content ${JSON.stringify(member)}`);
    seen.add(member);
    if (found.hash !== file.hash || found.size !== file.size) {
      throw new ArchiveFault(`the content of ${shown} is not what the manifest says`);
    }
    const path = pathOf(file.path, file.pathBase64);
    if (displayPath(path) !== file.path) throw new ArchiveFault(`${shown} has two names`);
    const { size, hash, mode, mtime, previousHash } = file;
    return {
      path,
      size,
      hash,
      versionId: file.versionId,
      source: { member },
      ...(mode !== undefined && { mode }),
      ...(mtime !== undefined && { mtime }),
      ...(previousHash !== undefined && { previousHash })
    };
  });
}

const bytesText = (files: readonly { size: number }[]): string =>
  `${files.length === 1 ? '1 file' : `${files.length} files`}, ${files.reduce((sum, { size }) => sum + size, 0)} bytes`;

function signed(archive: Archive, members: readonly Member[], kept: ReadonlyMap<string, Buffer>): Inspected {
  const bytes = kept.get(MANIFEST_MEMBER) as Buffer;
  const signature = kept.get(SIGNATURE_MEMBER);
  if (signature === undefined) throw new ArchiveFault('its manifest is not signed');
  parseObject(bytes, MANIFEST_MEMBER, archive.limits);
  let manifest: Manifest | undefined;
  try {
    manifest = openManifest(bytes, signature);
  } catch (error) {
    throw new ArchiveFault('its manifest is not understood; it may be of a later version of Syft Sync', {
      cause: error
    });
  }
  if (manifest === undefined) throw new ArchiveFault('its signature does not hold: it was altered');
  const { id, sender, recipients, note, replyTo } = manifest;
  const byName = new Map(members.map(member => [member.name, member]));
  const files = filesOf(manifest, byName);
  for (const { name, size, hash } of manifest.members) {
    const found = byName.get(name);
    if (found?.kind !== 'file' || found.size !== size || found.hash !== hash) {
      throw new ArchiveFault(`${JSON.stringify(name)} is not what the manifest says`);
    }
  }
  checkMembers(
    members,
    new Set([
      MANIFEST_MEMBER,
      SIGNATURE_MEMBER,
      ...manifest.members.map(({ name }) => name),
      ...manifest.files.map(file => `${id}/data/${file.member}`)
    ])
  );
  const events = kept.get(EVENTS_MEMBER);
  if (events !== undefined) {
    // Held against the manifest below, by the names as they are shown.
    const inEvents = eventFiles(events, archive.limits, text => text);
    if (inEvents.deletions.length > 0) throw new ArchiveFault(`"${EVENTS_MEMBER}" deletes what the message does not`);
    checkSameContents(inEvents.files, files);
  }
  const key = Buffer.from(sender.publicKey, 'base64');
  const proven: Fact[] = [
    { fact: 'contents', text: `the contents are those that the sender signed: ${bytesText(files)}` },
    {
      fact: 'signature',
      text: `it was signed with the key ${fingerprint(key)} (device ${sender.device})`,
      value: sender.publicKey
    }
  ];
  const claimed: Fact[] = [
    { fact: 'sender', text: `it is from ${sender.name}`, value: sender.name },
    ...(recipients.length === 0
      ? []
      : [{ fact: 'recipients' as const, text: `it is for ${recipients.join(', ')}`, value: recipients.join(', ') }]),
    ...(note === undefined ? [] : [{ fact: 'note' as const, text: `the note: ${note}`, value: note }]),
    ...(replyTo === undefined ? [] : [{ fact: 'reply' as const, text: `it answers ${replyTo}`, value: replyTo }])
  ];
  for (const [i, file] of manifest.files.entries()) {
    const { path } = file;
    const recorded = provenRecord(file, files[i]?.path ?? '');
    const at = isoMicros(file.at);
    if (recorded === undefined) {
      claimed.push({ fact: 'recorded', path, text: `${path} is the version ${file.versionId}`, value: file.versionId });
    } else {
      const { change, checkpoint } = recorded;
      const own = recorded.publicKey.equals(key);
      const whose = own ? 'the sender' : `the key ${fingerprint(recorded.publicKey)}`;
      proven.push({
        fact: 'recorded',
        path,
        text: `${path} was recorded as ${file.versionId}, change ${change.seq} of ${checkpoint.size} in a log signed by ${whose}`,
        value: file.versionId
      });
    }
    claimed.push({ fact: 'time', path, text: `${path} was recorded at ${at}`, value: at });
    if (file.cause !== undefined) {
      claimed.push({ fact: 'cause', path, text: `${path} came about by ${file.cause.kind}`, value: file.cause.kind });
    }
  }
  return {
    id,
    form: 'syft-sync',
    sealed: archive.sealed,
    sender: { name: sender.name, publicKey: sender.publicKey },
    recipients,
    ...(note !== undefined && { note }),
    ...(replyTo !== undefined && { replyTo }),
    at: isoMicros(Math.max(...manifest.files.map(file => file.at))),
    files,
    proven,
    claimed,
    members
  };
}

/** Both kinds of readers are shown the same. @throws ArchiveFault */
function checkSameContents(events: readonly MessageFile[], files: readonly MessageFile[]): void {
  const hashes = new Map(files.map(file => [displayPath(file.path), file.hash]));
  const same = events.length === files.length && events.every(event => hashes.get(event.path) === event.hash);
  if (!same) throw new ArchiveFault(`"${EVENTS_MEMBER}" has other contents than the message`);
}

interface EventFiles {
  readonly files: MessageFile[];
  readonly deletions: Deletion[];
  readonly sender: string | undefined;
  readonly id: string | undefined;
}

/** 0.1.117 loses `is_deleted` of a deletion that was proposed to it; that there is nothing anymore says the same. */
function isDeletion({ is_deleted: gone, content, new_hash: hash }: Json): boolean {
  return gone === true || (content === null && hash === null);
}

/** The content of an event. @throws ArchiveFault */
function contentOfEvent(event: Json): Buffer {
  const { content, content_type: type } = event;
  if (typeof content !== 'string') throw new ArchiveFault('an event has no content');
  if (type !== 'binary') return Buffer.from(content, 'utf8');
  const bytes = Buffer.from(content, 'base64');
  if (bytes.toString('base64') !== content) throw new ArchiveFault('the content of an event is not base64');
  return bytes;
}

function eventsIn(bytes: Buffer, limits: MessageLimits): { message: Json; events: Json[] } {
  const message = parseObject(bytes, EVENTS_MEMBER, limits);
  const list = message['events'] ?? message['proposed_file_changes'];
  if (!Array.isArray(list) || list.length > limits.members) throw new ArchiveFault(`"${EVENTS_MEMBER}" has no events`);
  const events = list.filter((event): event is Json => typeof event === 'object' && event !== null);
  if (events.length !== list.length) throw new ArchiveFault(`"${EVENTS_MEMBER}" has an event that is none`);
  return { message, events };
}

/** A hash that an event says. @throws ArchiveFault */
function hashIn(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)) return value;
  throw new ArchiveFault('an event has a hash that is none');
}

/**
 * The files that events bring, each content held against its hash. Of several events on one path the last counts, and the first says
 * what was there. @throws ArchiveFault
 */
function eventFiles(bytes: Buffer, limits: MessageLimits, nameOf: (text: string) => PathName = pathOf): EventFiles {
  const { message, events } = eventsIn(bytes, limits);
  const files = new Map<PathName, MessageFile>();
  const deletions = new Map<PathName, Deletion>();
  const before = new Map<PathName, { previousHash?: string }>();
  let sender = textOf(message['sender_email']);
  for (const [i, event] of events.entries()) {
    const { path_in_datasite: at, new_hash: hash, old_hash: old } = event;
    if (typeof at !== 'string') throw new ArchiveFault('an event has no path');
    const path = nameOf(at);
    sender ??= textOf(event['datasite_email']);
    const previousHash = hashIn(old);
    const first = before.get(path) ?? (previousHash === undefined ? {} : { previousHash });
    before.set(path, first);
    if (isDeletion(event)) {
      files.delete(path);
      deletions.set(path, { path, ...first });
      continue;
    }
    const content = contentOfEvent(event);
    if (hash !== sha256(content)) {
      throw new ArchiveFault(`the content of ${JSON.stringify(at)} is not what its hash says`);
    }
    deletions.delete(path);
    files.set(path, { path, size: content.length, hash: sha256(content), source: { event: i }, ...first });
  }
  const place = message['message_filepath'] ?? message['message_filename'];
  const id =
    typeof place === 'object' && place !== null ? textOf((place as Json)['id'] ?? (place as Json)['uid']) : undefined;
  return { files: [...files.values()], deletions: [...deletions.values()], sender, id: textOf(message['id']) ?? id };
}

/** Siblings of the description that say what was deleted or moved. */
const OTHER_DESCRIPTIONS = ['deletion_manifest.json', 'move_manifest.json'];

function version1(
  archive: Archive,
  members: readonly Member[],
  kept: ReadonlyMap<string, Buffer>
): Inspected | undefined {
  const described = [...kept].filter(([name]) => /^(msg_[^/]+)\/\1\.json$/.test(name));
  const [first] = described;
  if (first === undefined) return undefined;
  if (described.length > 1) throw new ArchiveFault('it is more than one SyftMessage');
  const [name, bytes] = first;
  const id = name.slice(0, name.indexOf('/'));
  const description = parseObject(bytes, name, archive.limits);
  const prefix = `${id}/data/`;
  const data = members.filter(member => member.kind === 'file' && member.name.startsWith(prefix));
  checkMembers(
    members,
    new Set([
      name,
      `${id}/data/`,
      ...OTHER_DESCRIPTIONS.map(other => `${id}/${other}`),
      EVENTS_MEMBER,
      ...data.map(member => member.name)
    ])
  );
  const [only] = data;
  const said = textOf(description['hash']);
  if (data.length === 1 && said !== undefined && only !== undefined) {
    if (said !== only.hash) throw new ArchiveFault('the content is not what its description says');
    const size = description['size'];
    if (typeof size === 'number' && size !== only.size) {
      throw new ArchiveFault('the size is not what its description says');
    }
  }
  const files = data.map((member): MessageFile => {
    const inArchive = member.name.slice(prefix.length);
    const whole = textOf(description['file_path']);
    // Of a single file the description may know the folder; syft-sync 0.1.0 writes the path on its own machine, which is none here.
    const named = data.length === 1 && whole !== undefined && normalizeRelative(whole) === whole ? whole : inArchive;
    const path = pathOf(named.endsWith(`/${inArchive}`) || named === inArchive ? named : inArchive);
    const version = data.length === 1 ? textOf(description['version_id']) : undefined;
    return {
      path,
      size: member.size,
      hash: member.hash,
      source: { member: member.name },
      ...(version !== undefined && { versionId: version })
    };
  });
  const events = kept.get(EVENTS_MEMBER);
  if (events !== undefined) eventFiles(events, archive.limits);
  const sender = textOf(description['sender']) ?? textOf(description['sender_email']) ?? 'somebody who is not named';
  const recipient = textOf(description['recipient']) ?? textOf(description['recipient_email']);
  const at = textOf(description['created_at']) ?? textOf(description['timestamp']);
  const note = textOf(description['note']);
  return {
    ...unsigned(archive, members, files, sender, said !== undefined && data.length === 1),
    id,
    form: 'SyftMessage v1',
    recipients: recipient === undefined ? [] : [recipient],
    ...(at !== undefined && { at }),
    ...(note !== undefined && { note })
  };
}

function events(
  archive: Archive,
  members: readonly Member[],
  kept: ReadonlyMap<string, Buffer>
): Inspected | undefined {
  const bytes = kept.get(EVENTS_MEMBER);
  if (bytes === undefined) return undefined;
  checkMembers(members, new Set([EVENTS_MEMBER]));
  const { files, deletions, sender, id } = eventFiles(bytes, archive.limits);
  const base = unsigned(archive, members, files, sender ?? 'somebody who is not named', true);
  return {
    ...base,
    id: id ?? sha256(bytes).slice(0, 16),
    form: 'syft events',
    recipients: [],
    deletions,
    claimed: [
      ...base.claimed,
      ...deletions.map(({ path }) => ({
        fact: 'deletion' as const,
        path: displayPath(path),
        text: `${displayPath(path)} was deleted; an import deletes nothing, "changeset apply" does`
      }))
    ]
  };
}

function unsigned(
  archive: Archive,
  members: readonly Member[],
  files: readonly MessageFile[],
  sender: string,
  hashed: boolean
): Omit<Inspected, 'id' | 'form' | 'recipients'> {
  const contents: Fact = {
    fact: 'contents',
    text: hashed
      ? `the contents are those that the message describes: ${bytesText(files)}`
      : `the message describes its contents by name only: ${bytesText(files)}`
  };
  return {
    sealed: archive.sealed,
    sender: { name: sender },
    files,
    proven: hashed ? [contents] : [],
    claimed: [
      ...(hashed ? [] : [contents]),
      { fact: 'sender', text: `it is from ${sender}; it is not signed, and anybody can have made it`, value: sender }
    ],
    members
  };
}

const described = (name: string): boolean =>
  name === MANIFEST_MEMBER ||
  name === SIGNATURE_MEMBER ||
  name === EVENTS_MEMBER ||
  /^(msg_[^/]+)\/(?:\1|deletion_manifest|move_manifest)\.json$/.test(name);

/**
 * Reads a message whole and says what it is. Writes nothing.
 *
 * @throws ArchiveFault saying what is wrong with it; SyftError KEY_MISSING, KEY_MISMATCH, CANCELLED.
 */
export async function inspect(archive: Archive): Promise<Inspected> {
  const { take, kept } = keeping(described, archive.limits);
  const members = await archive.read(take);
  const found =
    kept.has(MANIFEST_MEMBER) || kept.has(SIGNATURE_MEMBER)
      ? kept.has(MANIFEST_MEMBER)
        ? signed(archive, members, kept)
        : undefined
      : (version1(archive, members, kept) ?? events(archive, members, kept));
  if (found === undefined) throw new ArchiveFault('it is not a SyftMessage');
  checkPaths(found.files);
  return found;
}

/** What `verify` prints. */
export interface Verified {
  readonly ok: boolean;
  readonly id?: string;
  readonly form?: Inspected['form'];
  readonly sealed: boolean;
  readonly sender?: Sender;
  readonly recipients?: readonly string[];
  readonly note?: string;
  readonly replyTo?: string;
  readonly at?: string;
  readonly files: readonly {
    readonly path: string;
    readonly size: number;
    readonly hash: string;
    readonly versionId?: string;
  }[];
  readonly proven: readonly Fact[];
  readonly claimed: readonly Fact[];
  /** Why not `ok`. */
  readonly failed?: string;
}

/**
 * Verifies a message, for anybody, without a log or a network.
 *
 * @throws SyftError PATH_NOT_FOUND, KEY_MISSING, KEY_MISMATCH, CANCELLED. A message that does not hold is no error here.
 */
export async function verifyMessage(path: string, options: OpenArchiveOptions = {}): Promise<Verified> {
  await using archive = await Archive.open(path, options);
  try {
    const { members: _, deletions: __, files, ...rest } = await inspect(archive);
    return {
      ok: true,
      ...rest,
      files: files.map(({ path: at, size, hash, versionId: version }) => ({
        path: displayPath(at),
        size,
        hash: `sha256:${hash}`,
        ...(version !== undefined && { versionId: version })
      }))
    };
  } catch (error) {
    if (!(error instanceof ArchiveFault)) throw error;
    return { ok: false, sealed: archive.sealed, files: [], proven: [], claimed: [], failed: error.message };
  }
}

/** The contents that events carry, by their place. */
export function eventContents(bytes: Buffer, limits: MessageLimits): Buffer[] {
  return eventsIn(bytes, limits).events.map(event => (isDeletion(event) ? Buffer.alloc(0) : contentOfEvent(event)));
}
