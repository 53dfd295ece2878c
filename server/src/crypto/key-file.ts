/**
 * `keys/master.json`: the master keys of an encrypted log, each wrapped by a passphrase (argon2id) and for age recipients. It
 * holds no key in the clear, and nobody reads the log without it: it belongs into every copy of the log.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory, replaceFile, writeError } from '../storage/durable.ts';
import { wrapForRecipients, unwrapByIdentity } from './age.ts';
import { argon2id, COST_BOUNDS, DEFAULT_COST, type Argon2Cost } from './argon2.ts';
import { deriveKey, KEY_LENGTH, keyId, LogKeys } from './log-keys.ts';

const VERSION = 1;
/** Bytes that a key file may have. */
export const MAX_KEY_FILE = 4 * 2 ** 20;
const MAX_EPOCHS = 1000;
/** More would make a file nobody can read at once. */
export const MAX_RECIPIENTS = 64;
const NONCE = 12;
const TAG = 16;

/** Where the key file is, below the log directory. */
export const KEY_FILE = 'keys/master.json';

const base64 = (bytes: number): z.ZodType<string> =>
  z.string().refine(text => {
    const decoded = Buffer.from(text, 'base64');
    return decoded.length === bytes && decoded.toString('base64') === text;
  }, `not ${bytes} bytes in base64`);
const within = (bounds: { least: number; most: number }): z.ZodType<number> =>
  z.number().int().min(bounds.least).max(bounds.most);

const KeyFileShape = z.strictObject({
  format: z.literal('syft-sync-keys'),
  version: z.literal(VERSION),
  workspace: z.string().regex(/^[0-9a-f]{32}$/),
  passphrase: z
    .strictObject({
      kdf: z.literal('argon2id'),
      memory: within(COST_BOUNDS.memory),
      passes: within(COST_BOUNDS.passes),
      lanes: within(COST_BOUNDS.lanes),
      salt: base64(16)
    })
    .optional(),
  recipients: z
    .array(
      z
        .string()
        .max(4096)
        .regex(/^age1[a-z0-9]+$/)
    )
    .max(MAX_RECIPIENTS),
  epochs: z
    .array(
      z.strictObject({
        epoch: z.number().int().min(1).max(MAX_EPOCHS),
        created: z.string().max(40),
        byPassphrase: base64(NONCE + KEY_LENGTH + TAG).optional(),
        byAge: z
          .string()
          .max(256 * 1024)
          .optional()
      })
    )
    .min(1)
    .max(MAX_EPOCHS),
  mac: base64(32),
  sum: z.string().regex(/^[0-9a-f]{64}$/)
});

/** The key file as it stands on disk. */
export type KeyFile = z.infer<typeof KeyFileShape>;
type KeyFileBody = Omit<KeyFile, 'mac' | 'sum'>;

/** What opens a key file. */
export type KeySecret =
  | { readonly passphrase: string }
  /** `AGE-SECRET-KEY-1…`, one or several. */
  | { readonly identities: readonly string[] };

/** How the master keys are to be wrapped. At least one way. */
export interface Wrapping {
  readonly passphrase?: string;
  /** `age1…`. */
  readonly recipients: readonly string[];
  /** Default {@link DEFAULT_COST}. */
  readonly cost?: Argon2Cost;
}

/** The members in one order, whatever order the file has them in. */
export function canonicalKeyFile(body: KeyFileBody): string {
  const { format, version, workspace, passphrase, recipients, epochs } = body;
  return JSON.stringify([
    format,
    version,
    workspace,
    passphrase === undefined
      ? null
      : [passphrase.kdf, passphrase.memory, passphrase.passes, passphrase.lanes, passphrase.salt],
    recipients,
    epochs.map(one => [one.epoch, one.created, one.byPassphrase ?? null, one.byAge ?? null])
  ]);
}

function sumOf(body: KeyFileBody, mac: string): string {
  return createHash('sha256').update(canonicalKeyFile(body)).update(mac).digest('hex');
}

/**
 * By all master keys together: who lacks one can add no recipient, take no epoch away, and add none. By the newest alone somebody
 * could add an epoch with a key of his own, wrapped for a recipient.
 */
function macOf(body: KeyFileBody, masters: ReadonlyMap<number, Buffer>): Buffer {
  const inOrder = [...masters].sort(([a], [b]) => a - b).map(([, master]) => master);
  const key = deriveKey(Buffer.concat(inOrder), body.workspace, 'key-file', Buffer.alloc(0));
  return createHmac('sha256', key).update(canonicalKeyFile(body)).digest();
}

function wrapContext(workspace: string, epoch: number): Buffer {
  return Buffer.from(`syft-sync/1/wrap/${workspace}/${epoch}`);
}

function wrapByKey(key: Buffer, workspace: string, epoch: number, master: Buffer): string {
  // The key is made from a fresh salt each time, so it wraps each epoch once; the nonce is random all the same.
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG });
  cipher.setAAD(wrapContext(workspace, epoch));
  return Buffer.concat([nonce, cipher.update(master), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

function unwrapByKey(key: Buffer, workspace: string, epoch: number, wrapped: string): Buffer | undefined {
  const bytes = Buffer.from(wrapped, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE), { authTagLength: TAG });
  decipher.setAAD(wrapContext(workspace, epoch));
  decipher.setAuthTag(bytes.subarray(-TAG));
  const plain = decipher.update(bytes.subarray(NONCE, -TAG));
  try {
    decipher.final();
    return plain;
  } catch {
    // GCM says nothing more than that the key or the bytes are wrong; the caller knows which.
    return undefined;
  }
}

async function wrap(
  workspace: string,
  masters: ReadonlyMap<number, Buffer>,
  wrapping: Wrapping,
  created: ReadonlyMap<number, string>
): Promise<KeyFile> {
  const { passphrase, recipients, cost = DEFAULT_COST } = wrapping;
  if (passphrase === undefined && recipients.length === 0) {
    throw new SyftError('BAD_REQUEST', 'A key that nothing opens is lost: give a passphrase or an age recipient.');
  }
  if (recipients.length > MAX_RECIPIENTS) {
    throw new SyftError('BAD_REQUEST', `A log has at most ${MAX_RECIPIENTS} age recipients.`);
  }
  const salt = randomBytes(16);
  const key = passphrase === undefined ? undefined : await argon2id(passphrase, salt, cost);
  const epochs: KeyFile['epochs'] = [];
  for (const [epoch, master] of [...masters].sort(([a], [b]) => a - b)) {
    epochs.push({
      epoch,
      created: created.get(epoch) ?? new Date().toISOString(),
      ...(key !== undefined && { byPassphrase: wrapByKey(key, workspace, epoch, master) }),
      ...(recipients.length > 0 && { byAge: await wrapForRecipients(recipients, master) })
    });
  }
  key?.fill(0);
  const body: KeyFileBody = {
    format: 'syft-sync-keys',
    version: VERSION,
    workspace,
    ...(passphrase !== undefined && {
      passphrase: {
        kdf: 'argon2id',
        memory: cost.memory,
        passes: cost.passes,
        lanes: cost.lanes,
        salt: salt.toString('base64')
      }
    }),
    recipients: [...recipients],
    epochs
  };
  const mac = macOf(body, masters).toString('base64');
  return { ...body, mac, sum: sumOf(body, mac) };
}

/** Makes the first master key of a log and its key file, which is not written yet. */
export async function createKeyFile(
  workspace: string,
  wrapping: Wrapping
): Promise<{ readonly file: KeyFile; readonly keys: LogKeys }> {
  const masters = new Map([[1, randomBytes(KEY_LENGTH)]]);
  return { file: await wrap(workspace, masters, wrapping, new Map()), keys: new LogKeys(workspace, masters) };
}

/**
 * The same keys in other wrappings: another passphrase, other recipients. Whoever kept an old key file and its passphrase still
 * has the keys that were in it; only {@link addEpoch} shuts them out of what comes.
 *
 * @param keys From {@link unlockKeyFile}.
 */
export function rewrapKeyFile(file: KeyFile, keys: LogKeys, wrapping: Wrapping): Promise<KeyFile> {
  const masters = new Map(keys.epochs.map(epoch => [epoch, keys.master(epoch) as Buffer]));
  return wrap(file.workspace, masters, wrapping, new Map(file.epochs.map(one => [one.epoch, one.created])));
}

/** Rotation: a new master key, under which is written from now on, beside the old ones. */
export async function addEpoch(
  file: KeyFile,
  keys: LogKeys,
  wrapping: Wrapping
): Promise<{ readonly file: KeyFile; readonly keys: LogKeys }> {
  const epoch = keys.newest + 1;
  if (epoch > MAX_EPOCHS) throw new SyftError('BAD_REQUEST', `A log has at most ${MAX_EPOCHS} master keys.`);
  const masters = new Map(keys.epochs.map(known => [known, keys.master(known) as Buffer]));
  masters.set(epoch, randomBytes(KEY_LENGTH));
  const created = new Map(file.epochs.map(one => [one.epoch, one.created]));
  return { file: await wrap(file.workspace, masters, wrapping, created), keys: new LogKeys(file.workspace, masters) };
}

/** Writes the key file durably: after a crash the old or the new one is there, whole. */
export function writeKeyFile(logDir: string, file: KeyFile): void {
  try {
    makePrivateDirectory(join(logDir, 'keys'));
    replaceFile(join(logDir, KEY_FILE), Buffer.from(`${JSON.stringify(file, null, 1)}\n`));
  } catch (error) {
    throw writeError(error, 'the key file could not be written');
  }
}

/** Keys in a key file, which is not checked; 0 when it is none. */
export function epochsIn(file: Buffer): number {
  try {
    const { epochs } = JSON.parse(file.toString()) as { epochs?: unknown };
    return Array.isArray(epochs) ? epochs.length : 0;
  } catch {
    return 0;
  }
}

function readBounded(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size > MAX_KEY_FILE) throw new Error(`it has ${size} bytes`);
    const bytes = Buffer.alloc(size);
    let done = 0;
    while (done < size) {
      const read = readSync(fd, bytes, done, size - done, done);
      if (read === 0) break;
      done += read;
    }
    return bytes.subarray(0, done);
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads the key file of a log.
 *
 * @param workspace The log's, 32 hex digits.
 * @throws SyftError KEY_MISSING, KEY_DAMAGED, KEY_MISMATCH (of another log), LOG_NEWER_FORMAT, DISK_ERROR.
 */
export function readKeyFile(logDir: string, workspace: string): KeyFile {
  const path = join(logDir, KEY_FILE);
  const damaged = (why: string, cause?: unknown): SyftError =>
    new SyftError(
      'KEY_DAMAGED',
      `The key file ${path} is damaged (${why}). Put a copy of it back; any copy of the log has one.`,
      { path, cause }
    );
  let text: string;
  try {
    text = readBounded(path).toString('utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new SyftError(
        'KEY_MISSING',
        `The log is encrypted and its key file ${path} is gone. Put a copy of it back; without one nobody can read the log.`,
        { path, cause: error }
      );
    }
    if (errnoOf(error) === undefined) throw damaged(error instanceof Error ? error.message : String(error), error);
    throw new SyftError('DISK_ERROR', `${path} cannot be read (${String(errnoOf(error))}).`, { path, cause: error });
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw damaged('it is not JSON', error);
  }
  if (
    typeof body === 'object' &&
    body !== null &&
    'version' in body &&
    typeof body.version === 'number' &&
    body.version > VERSION
  ) {
    throw new SyftError(
      'LOG_NEWER_FORMAT',
      `${path} is of a newer version than this program knows. Update syft-sync.`,
      {
        path
      }
    );
  }
  const parsed = KeyFileShape.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw damaged(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`);
  }
  const file = parsed.data;
  if (sumOf(file, file.mac) !== file.sum) throw damaged('its checksum is wrong');
  if (file.epochs.some((one, i) => one.epoch !== i + 1)) throw damaged('its epochs have gaps');
  if (file.workspace !== workspace) {
    throw new SyftError('KEY_MISMATCH', `The key file ${path} belongs to another log (${file.workspace}).`, { path });
  }
  return file;
}

/**
 * Opens a key file.
 *
 * @param expected The key id in the log's format.json; `undefined` when there is none yet.
 * @throws SyftError PASSPHRASE_WRONG when the secret does not open it, KEY_MISMATCH when the keys in it are not those of the log,
 *   KEY_DAMAGED when it was altered by somebody who did not have the keys.
 */
export async function unlockKeyFile(file: KeyFile, secret: KeySecret, expected: string | undefined): Promise<LogKeys> {
  const masters = await ('passphrase' in secret
    ? unlockByPassphrase(file, secret.passphrase)
    : unlockByAge(file, secret.identities));
  const first = masters.get(1) as Buffer;
  if (expected !== undefined && keyId(first, file.workspace) !== expected) {
    throw new SyftError(
      'KEY_MISMATCH',
      `The keys in ${KEY_FILE} are not those with which the log was made. Put back the key file that belongs to it.`,
      { path: KEY_FILE }
    );
  }
  if (!timingSafeEqual(macOf(file, masters), Buffer.from(file.mac, 'base64'))) throw alteredFile();
  return new LogKeys(file.workspace, masters);
}

function alteredFile(): SyftError {
  return new SyftError(
    'KEY_DAMAGED',
    `${KEY_FILE} was altered by somebody who does not have the keys. Put a copy of it back from before.`,
    { path: KEY_FILE }
  );
}

async function unlockByPassphrase(file: KeyFile, passphrase: string): Promise<Map<number, Buffer>> {
  const { passphrase: how } = file;
  if (how === undefined) {
    throw new SyftError('PASSPHRASE_WRONG', 'The log has no passphrase; it opens with an age identity.');
  }
  const key = await argon2id(passphrase, Buffer.from(how.salt, 'base64'), how);
  const masters = new Map<number, Buffer>();
  for (const { epoch, byPassphrase } of file.epochs) {
    const master = byPassphrase === undefined ? undefined : unwrapByKey(key, file.workspace, epoch, byPassphrase);
    if (master !== undefined) masters.set(epoch, master);
  }
  key.fill(0);
  if (masters.size === 0) throw new SyftError('PASSPHRASE_WRONG', 'The passphrase is wrong.');
  // One opened, so the passphrase is right, and what did not open is not what was written.
  if (masters.size !== file.epochs.length) throw alteredFile();
  return masters;
}

async function unlockByAge(file: KeyFile, identities: readonly string[]): Promise<Map<number, Buffer>> {
  const masters = new Map<number, Buffer>();
  for (const { epoch, byAge } of file.epochs) {
    const master = byAge === undefined ? undefined : await unwrapByIdentity(identities, byAge);
    if (master?.length === KEY_LENGTH) masters.set(epoch, master);
  }
  if (masters.size === 0) {
    throw new SyftError('PASSPHRASE_WRONG', 'None of the age identities opens the log: it was not encrypted for them.');
  }
  if (masters.size !== file.epochs.length) throw alteredFile();
  return masters;
}
