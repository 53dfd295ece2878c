/** Makes archives as an attacker would: headers by hand, anything in them, signed with a key of his own where that helps him. */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { deviceId } from '../../../server/src/crypto/device-key.ts';
import {
  MANIFEST_MEMBER,
  signManifest,
  SIGNATURE_MEMBER,
  type Manifest,
  type ManifestFile
} from '../../../server/src/messages/manifest.ts';

export const ID = 'msg_20261101_143205_00c0ffee';
const WORKSPACE = '0123456789abcdef0123456789abcdef';

export interface Entry {
  readonly name: string | Buffer;
  readonly body?: Buffer;
  /** The type flag; default `0`, or `5` for a name that ends in a slash. */
  readonly type?: string;
  readonly linkname?: string;
  /** What the header says of the size, where that is a lie. */
  readonly size?: number;
  readonly mode?: number;
  readonly prefix?: string;
  /** The checksum is wrong. */
  readonly badChecksum?: boolean;
}

/** One member, header and content. */
export function member(entry: Entry): Buffer {
  const { body = Buffer.alloc(0) } = entry;
  const name = Buffer.isBuffer(entry.name) ? entry.name : Buffer.from(entry.name);
  const header = Buffer.alloc(512);
  name.copy(header, 0, 0, 100);
  header.write(`${(entry.mode ?? 0o644).toString(8).padStart(7, '0')}\0`, 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${(entry.size ?? body.length).toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(entry.type ?? (name.at(-1) === 0x2f ? '5' : '0'), 156);
  if (entry.linkname !== undefined) header.write(entry.linkname, 157);
  header.write('ustar\x0000', 257);
  if (entry.prefix !== undefined) header.write(entry.prefix, 345);
  const sum = header.reduce((a, b) => a + b, 0) + (entry.badChecksum === true ? 1 : 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

/** A pax header in front of a member: its fields win over those of the member. */
export function pax(fields: Readonly<Record<string, string>>, type = 'x'): Buffer {
  const lines = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest) + 1;
    while (Buffer.byteLength(`${length}${rest}`) !== length) length += 1;
    return `${length}${rest}`;
  });
  return member({ name: 'PaxHeader', type, body: Buffer.from(lines.join('')) });
}

export const END = Buffer.alloc(1024);

export function archive(parts: readonly (Entry | Buffer)[], end: Buffer = END): Buffer {
  return gzipSync(Buffer.concat([...parts.map(part => (Buffer.isBuffer(part) ? part : member(part))), end]));
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export interface Key {
  readonly privateKey: KeyObject;
  readonly publicKey: Buffer;
}

export function newKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKey: publicKey.export({ type: 'spki', format: 'der' }).subarray(12) };
}

/** A file as the attacker's manifest tells of it. */
export function file(path: string, body: Buffer, more: Partial<ManifestFile> = {}): ManifestFile {
  return {
    member: path,
    path,
    versionId: 'aaaaaaaa.1',
    kind: 'created',
    at: 1_793_543_525_120_334,
    size: body.length,
    hash: sha256(body),
    mode: 0o644,
    ...more
  };
}

export function manifestOf(key: Key, files: readonly ManifestFile[], more: Partial<Manifest> = {}): Manifest {
  return {
    format: 'syft-sync.message/1',
    id: ID,
    sender: {
      name: 'mallory@example.org',
      workspace: WORKSPACE,
      device: deviceId(key.publicKey, WORKSPACE),
      publicKey: key.publicKey.toString('base64')
    },
    recipients: [],
    files: [...files],
    members: [],
    ...more
  };
}

/** Members of a message whose signature holds, whatever it says. */
export function signedMembers(key: Key, manifest: Manifest, contents: readonly (Entry | Buffer)[]): (Entry | Buffer)[] {
  const { manifest: bytes, signature } = signManifest(manifest, key);
  return [
    { name: `${manifest.id}/` },
    { name: `${manifest.id}/data/` },
    ...contents,
    { name: MANIFEST_MEMBER, body: bytes },
    { name: SIGNATURE_MEMBER, body: signature }
  ];
}

/** An event of syft-client and `syft`: a file that was written, or is gone. */
export function fileEvent(path: string, body: Buffer | undefined, more: Record<string, unknown> = {}): object {
  return {
    id: '5b0e1f5c-8f0e-4f43-9f29-3f6c2f1f0001',
    path_in_datasite: path,
    datasite_email: 'mallory@example.org',
    content: body === undefined ? null : body.toString('base64'),
    content_type: body === undefined ? null : 'binary',
    old_hash: null,
    new_hash: body === undefined ? null : sha256(body),
    is_deleted: body === undefined,
    submitted_timestamp: 1793543525.25,
    timestamp: 1793543525.5,
    ...more
  };
}

/** `syfteventsmessagev3_*.tar.gz`. */
export function eventsArchive(events: readonly unknown[], more: Record<string, unknown> = {}): Buffer {
  const place = { id: '5b0e1f5c-8f0e-4f43-9f29-3f6c2f1f0002', timestamp: 1793543525.5, extension: '.tar.gz' };
  const body = Buffer.from(JSON.stringify({ events, message_filepath: place, ...more }));
  return archive([{ name: 'proposed_file_changes.json', body }]);
}
