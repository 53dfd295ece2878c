/** Makes messages of versions: the manifest from the log, the proofs, and the archive. */
import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath, pathBase64 } from '../core/path-name.ts';
import { configurationDirectory, deviceId, deviceKey } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { droppedError } from '../log/dropped-error.ts';
import { encodeProof, inclusionProofs, type InclusionProof } from '../log/prove.ts';
import type { OpenReader } from '../log/types.ts';
import { Contacts } from '../messages/contacts.ts';
import type { Manifest, ManifestFile } from '../messages/manifest.ts';
import { defaultName, ownSettings } from '../messages/own-contact.ts';
import { faultOfPath, foldedName, memberName } from '../messages/member-names.ts';
import { writeArchive } from '../messages/write-archive.ts';

export interface ExportOptions {
  /** Who sends it, as it will be shown; default the name that was given to this installation, else user and machine. */
  readonly sender?: string | undefined;
  /** Who it is for: names, addresses, or `age1…`. Whoever is given by an age recipient, or is a contact with one, makes it sealed. */
  readonly recipients?: readonly string[] | undefined;
  /**
   * Whether it is sealed. `true`: it has to be. `false`: it is not, whatever keys are known. Not said: it is where an age key of every recipient is
   * known, and where one of some is, it is refused.
   */
  readonly encrypt?: boolean | undefined;
  readonly note?: string | undefined;
  /** Id of the message that this one answers. */
  readonly replyTo?: string | undefined;
  /** Where contacts and the device key are; default the user's configuration. */
  readonly configuration?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** What was exported. */
export interface ExportedMessage {
  readonly messageId: string;
  /** Who sends it, as it is shown. */
  readonly sender: string;
  /** Absolute. */
  readonly file: string;
  readonly versions: readonly string[];
  readonly bytes: number;
  /** Only the recipients can open it. */
  readonly sealed: boolean;
  /** Versions that no signed checkpoint covered yet: that they were recorded is only claimed. */
  readonly unproven: readonly string[];
}

/**
 * The same for the same message: of what, whose, to whom, with what words. A version by itself, of which nothing is said and that goes to nobody
 * in particular, has the id by which SQL's `messages` knows it.
 *
 * @param said Sender, recipients, note, what it answers.
 */
function messageId(workspace: string, changes: readonly Change[], said: readonly [string, ...string[]]): string {
  const newest = Math.max(...changes.map(change => change.at));
  const versions = changes.map(versionId);
  const bare = versions.length === 1 && said.slice(1).every(text => text === '');
  const digest = createHash('sha256')
    .update(bare ? `${workspace} ${versions.join()}` : JSON.stringify([workspace, versions, ...said]))
    .digest('hex');
  const stamp = new Date(newest / 1000).toISOString().replace(/[-:]/g, '').replace('T', '_').slice(0, 15);
  return `msg_${stamp}_${digest.slice(0, 8)}`;
}

/** What can be sent at all. Throws VERSION_HAS_NO_CONTENT, VERSION_PRUNED, VERSION_ERASED, BAD_REQUEST. */
function checkVersions(log: OpenReader, changes: readonly Change[]): void {
  if (changes.length === 0) throw new SyftError('BAD_REQUEST', 'A message needs at least one version.');
  const paths = new Map<string, Change>();
  for (const change of changes) {
    const path = displayPath(change.path);
    if (
      change.type !== 'file' ||
      change.content === undefined ||
      change.hash === undefined ||
      change.kind === 'deleted'
    ) {
      throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(change)} has no file content to send.`, {
        path
      });
    }
    const dropped = log.dropped(change);
    if (dropped !== undefined) throw droppedError(change, dropped);
    const fault = faultOfPath(change.path);
    if (fault !== undefined) {
      throw new SyftError(
        'PATH_INVALID',
        `${path} is not sent: it ${fault}, and whoever receives it would refuse the message.`,
        { path }
      );
    }
    const folded = foldedName(change.path);
    const other = paths.get(folded);
    if (other !== undefined) {
      throw new SyftError(
        'BAD_REQUEST',
        `${versionId(other)} and ${versionId(change)} are both ${path}: a message has one version of a file. Export two messages.`,
        { path }
      );
    }
    paths.set(folded, change);
  }
}

function manifestFile(change: Change, proof: InclusionProof | undefined): ManifestFile {
  const { kind, at, size = 0, hash = '', previousHash, mode, mtime, cause } = change;
  const base64 = pathBase64(change.path);
  return {
    member: memberName(change.path),
    path: displayPath(change.path),
    ...(base64 !== undefined && { pathBase64: base64 }),
    versionId: versionId(change),
    kind: kind as ManifestFile['kind'],
    at,
    size,
    hash,
    ...(previousHash !== undefined && { previousHash }),
    ...(mode !== undefined && { mode }),
    ...(mtime !== undefined && { mtime }),
    ...(cause !== undefined && { cause }),
    ...(proof !== undefined && { proof: encodeProof(proof) })
  };
}

/** Two files whose names were made to fit may have got the same one. */
function withOwnMembers(files: readonly ManifestFile[]): ManifestFile[] {
  const taken = new Set<string>();
  return files.map(file => {
    let { member } = file;
    for (let i = 2; taken.has(foldedName(member)); i += 1) member = `${file.member}_${i}`;
    taken.add(foldedName(member));
    return { ...file, member };
  });
}

/** How recipients are called, and for whom a message can be sealed: of somebody with several devices, each that has an age key. */
export interface Addressees {
  readonly names: readonly string[];
  /** `age1…` */
  readonly sealFor: readonly string[];
  /** Recipients, as they were given, no age key is known of. */
  readonly unsealable: readonly string[];
}

/** What is known of recipients. */
export async function addresseesOf(contacts: Contacts, recipients: readonly string[]): Promise<Addressees> {
  const names: string[] = [];
  const sealFor: string[] = [];
  const unsealable: string[] = [];
  for (const recipient of recipients) {
    const known = recipient.startsWith('age1') ? [] : await contacts.named(recipient);
    names.push(known[0]?.name ?? recipient);
    const keys = recipient.startsWith('age1')
      ? [recipient]
      : known.flatMap(device => (device.recipient === undefined ? [] : [device.recipient]));
    if (keys.length === 0) unsealable.push(recipient);
    sealFor.push(...keys);
  }
  return { names, sealFor: [...new Set(sealFor)], unsealable };
}

/**
 * The keys that a message is sealed for; none: it is not.
 *
 * @throws SyftError BAD_REQUEST where it would be sealed for some of its recipients only, or is to be and cannot.
 */
function keysToSealFor({ sealFor, unsealable }: Addressees, encrypt: boolean | undefined): readonly string[] {
  if (encrypt === false) return [];
  if (encrypt === true && sealFor.length + unsealable.length === 0) {
    throw new SyftError('BAD_REQUEST', 'A message is sealed for its recipients, and none is named.');
  }
  if (unsealable.length === 0 || (sealFor.length === 0 && encrypt === undefined)) return sealFor;
  throw new SyftError(
    'BAD_REQUEST',
    `A message is sealed for all or for none of its recipients, and no age key is known of ${unsealable.join(', ')}. Give age1…, or add it to the contact.`
  );
}

/**
 * Writes versions as one message.
 *
 * @param log The log they are in, and its keys when it is encrypted. The message has them in the clear unless it is sealed.
 * @param versions One of each file.
 * @param outFile Target; replaced when it is there.
 * @throws SyftError VERSION_HAS_NO_CONTENT, VERSION_PRUNED, VERSION_ERASED, BAD_REQUEST, PATH_INVALID, LOG_DAMAGED, CANCELLED, DISK_*.
 */
export async function exportMessage(
  { logDir, log, keys }: { readonly logDir: string; readonly log: OpenReader; readonly keys: LogKeys | undefined },
  versions: readonly Change[],
  outFile: string,
  options: ExportOptions = {}
): Promise<ExportedMessage> {
  checkVersions(log, versions);
  const { note, replyTo, signal, onProgress } = options;
  const configuration = options.configuration ?? configurationDirectory();
  const addressees = await addresseesOf(new Contacts(configuration), options.recipients ?? []);
  const sealFor = keysToSealFor(addressees, options.encrypt);
  const { names } = addressees;
  const sender = options.sender ?? (await ownSettings(configuration)).name ?? defaultName();
  const workspace = log.workspaceId;
  const key = deviceKey(configuration, logDir);
  // A version that no checkpoint covers yet goes without a proof.
  const proofs = await inclusionProofs(logDir, versions.map(versionId), keys);
  const files = withOwnMembers(versions.map((change, i) => manifestFile(change, proofs[i])));
  const manifest: Omit<Manifest, 'members'> = {
    format: 'syft-sync.message/1',
    id: messageId(workspace, versions, [sender, names.join('\n'), note ?? '', replyTo ?? '']),
    sender: {
      name: sender,
      workspace,
      device: deviceId(key.publicKey, workspace),
      publicKey: key.publicKey.toString('base64')
    },
    recipients: [...names],
    ...(note !== undefined && { note }),
    ...(replyTo !== undefined && { replyTo }),
    files
  };
  const file = resolve(outFile);
  await writeArchive({
    manifest,
    content: index => log.content(versions[index] as Change),
    key,
    sealFor,
    outFile: file,
    signal,
    onProgress
  });
  return {
    messageId: manifest.id,
    sender,
    file,
    versions: versions.map(versionId),
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    sealed: sealFor.length > 0,
    unproven: files.filter(({ proof }) => proof === undefined).map(unproven => unproven.versionId)
  };
}

/** What a message of this version is called when nothing else is said. */
export function messageFileName(change: Change): string {
  return `${basename(displayPath(change.path))}.syft`;
}
