/**
 * The manifest of a message: who sends which versions, the hash of every member of the archive, and for each version the proof that it
 * was recorded. It is one JSON text, signed with the device key of the sender as a C2SP signed note over its hash. The two are members of
 * their own that the readers of OpenMined pass over.
 */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import { deviceId, type DeviceKey } from '../crypto/device-key.ts';
import { openNote, signNote } from '../crypto/signed-note.ts';

/** Names of the two members. */
export const MANIFEST_MEMBER = 'syft-sync-manifest';
export const SIGNATURE_MEMBER = 'syft-sync-signature';
const FORMAT = 'syft-sync.message/1';

const HEX64 = z.string().regex(/^[0-9a-f]{64}$/);
const COUNT = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const TEXT = z.string().max(1000);
const PATH = z.string().min(1).max(16_384);

export const ManifestFileSchema = z.strictObject({
  /** Name of the member that has the content. */
  member: PATH,
  /** Where the file was in the sender's workspace, as shown; `pathBase64` where that is not UTF-8. */
  path: PATH,
  pathBase64: z.string().max(16_384).optional(),
  versionId: z.string().max(40),
  kind: z.enum(['created', 'modified', 'moved']),
  /** Microseconds since the epoch, by the clock of the device that recorded it. */
  at: COUNT,
  size: COUNT,
  hash: HEX64,
  /** Of what was there before. */
  previousHash: HEX64.optional(),
  mode: COUNT.max(0o7777).optional(),
  mtime: z.number().int().optional(),
  cause: z.looseObject({ kind: z.string().max(40) }).optional(),
  /** C2SP tlog-proof that the version is in the log; absent where no checkpoint covered it yet. */
  proof: z.string().max(65_536).optional()
});
export type ManifestFile = z.infer<typeof ManifestFileSchema>;

export const ManifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  id: z.string().regex(/^msg_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$/),
  sender: z.strictObject({
    name: TEXT,
    workspace: z.string().regex(/^[0-9a-f]{32}$/),
    device: z.string().regex(/^[a-z2-7]{8}$/),
    /** Ed25519, 32 bytes in base64. */
    publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/)
  }),
  recipients: z.array(TEXT).max(1000),
  note: z.string().max(100_000).optional(),
  /** Id of the message that this one answers. */
  replyTo: z.string().max(100).optional(),
  files: z.array(ManifestFileSchema).min(1).max(10_000),
  /** The other members, with their hashes. */
  members: z.array(z.strictObject({ name: PATH, size: COUNT, hash: HEX64 })).max(100)
});
export type Manifest = z.infer<typeof ManifestSchema>;

function noteText(id: string, manifest: Uint8Array): string {
  return `${FORMAT}\n${id}\n${createHash('sha256').update(manifest).digest('base64')}\n`;
}

/** Not an origin of checkpoints, which have the workspace behind a slash: no signature over the one can be shown as one over the other. */
function keyName(sender: Pick<Manifest['sender'], 'device'>): string {
  return `syft-sync.message.${sender.device}`;
}

/** The manifest as it goes into the archive, and the signature over it. */
export function signManifest(manifest: Manifest, key: DeviceKey): { manifest: Buffer; signature: Buffer } {
  const bytes = Buffer.from(`${JSON.stringify(manifest)}\n`);
  return {
    manifest: bytes,
    signature: Buffer.from(signNote(noteText(manifest.id, bytes), keyName(manifest.sender), key))
  };
}

/**
 * Reads a manifest.
 *
 * @returns `undefined` when the signature is not that of the key the manifest names, or the device not that of the key.
 * @throws Error when the text is no manifest.
 */
export function openManifest(bytes: Buffer, signature: Buffer): Manifest | undefined {
  const manifest = ManifestSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  const { sender, id } = manifest;
  const publicKey = Buffer.from(sender.publicKey, 'base64');
  if (publicKey.length !== 32 || deviceId(publicKey, sender.workspace) !== sender.device) return undefined;
  const text = openNote(signature.toString('utf8'), keyName(sender), publicKey);
  return text === noteText(id, bytes) ? manifest : undefined;
}
