/**
 * The device key: one Ed25519 key an installation, kept in the user's configuration. A device's id in a workspace is
 * derived from the key and the workspace, so that two logs of one installation are two devices.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject
} from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory, syncDirectory } from '../storage/durable.ts';

export interface DeviceKey {
  readonly privateKey: KeyObject;
  /** Raw 32 bytes. */
  readonly publicKey: Buffer;
}

/** Where this installation keeps what is its own. */
export function configurationDirectory(): string {
  const own = process.env['SYFT_SYNC_HOME'];
  if (own !== undefined && own !== '') return own;
  const base = process.env['XDG_CONFIG_HOME'];
  return join(base !== undefined && base !== '' ? base : join(homedir(), '.config'), 'syft-sync');
}

/** SPKI of Ed25519 is this prefix and the 32 raw bytes (RFC 8410). */
const SPKI_PREFIX_LENGTH = 12;

function rawPublicKey(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX_LENGTH);
}

function load(path: string): DeviceKey {
  try {
    const privateKey = createPrivateKey(readFileSync(path));
    if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error('not an Ed25519 key');
    return { privateKey, publicKey: rawPublicKey(privateKey) };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw error;
    throw new SyftError(
      'DISK_ERROR',
      `The device key ${path} cannot be read. Move it away to get a new one; this installation is then a new device.`,
      {
        cause: error,
        path
      }
    );
  }
}

function loadOrCreate(dir: string, number: number): DeviceKey {
  const path = join(dir, number === 1 ? 'device-key.pem' : `device-key-${number}.pem`);
  try {
    return load(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  makePrivateDirectory(dir);
  const { privateKey } = generateKeyPairSync('ed25519');
  const temporary = join(dir, `.device-key-${randomBytes(6).toString('hex')}`);
  writeFileSync(temporary, privateKey.export({ type: 'pkcs8', format: 'pem' }), {
    mode: 0o600,
    flag: 'wx',
    flush: true
  });
  try {
    // link() succeeds for one of several processes that begin at once; all then read the winner's key.
    linkSync(temporary, path);
    syncDirectory(dir);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  return load(path);
}

/**
 * The installation's key, made on first use.
 *
 * @param keyDir Directory; where it cannot be written to (a read-only or missing home), `fallbackDir` is used.
 * @param number Which key: further ones are made where a stream of the first may not be gone on with (format F-14).
 */
export function deviceKey(keyDir: string, fallbackDir: string, number = 1): DeviceKey {
  try {
    return loadOrCreate(keyDir, number);
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
    return loadOrCreate(fallbackDir, number);
  }
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Device id: the first 40 bits of SHA-256(public key ‖ workspace id) in base32, lower case. */
export function deviceId(publicKey: Buffer, workspace: string): string {
  const digest = createHash('sha256').update(publicKey).update(Buffer.from(workspace, 'hex')).digest();
  let bits = 0n;
  for (const byte of digest.subarray(0, 5)) bits = (bits << 8n) | BigInt(byte);
  let id = '';
  for (let shift = 35n; shift >= 0n; shift -= 5n) id += ALPHABET[Number((bits >> shift) & 31n)] ?? '';
  return id;
}
