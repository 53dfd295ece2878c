/** The key file of an encrypted log: is it there, is it whole, and are the keys that were given those of the log. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import type { Damage } from '../types.ts';
import { fileBytes, MEBI, sha256, whole } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import { derived, type MasterKeys } from './sealed.ts';

const WHERE = 'keys/master.json';

interface Wrapped {
  readonly epoch?: unknown;
  readonly created?: unknown;
  readonly byPassphrase?: unknown;
  readonly byAge?: unknown;
}

/** The text that sum and MAC cover. */
function canonical(body: Record<string, unknown>): string {
  const { format, version, workspace, passphrase, recipients, epochs } = body;
  const how = passphrase as Record<string, unknown> | undefined;
  return JSON.stringify([
    format,
    version,
    workspace,
    how === undefined ? null : [how['kdf'], how['memory'], how['passes'], how['lanes'], how['salt']],
    recipients,
    (epochs as Wrapped[]).map(one => [one.epoch, one.created, one.byPassphrase ?? null, one.byAge ?? null])
  ]);
}

/**
 * Checks `keys/master.json`.
 *
 * @param masters When they are known.
 * @param keyId What `format.json` says of the first.
 */
export function* checkKeys(log: CheckedLog, masters: MasterKeys | undefined, keyId: unknown): Generator<Damage> {
  const bad = (kind: string, message: string, where = WHERE): Damage => ({ kind, where, versions: [], message });
  const first = masters?.master(1);
  if (first !== undefined && derived(first, log.workspace, 'key-id', new Uint8Array(0), 16).toString('hex') !== keyId) {
    yield bad('config', 'format.json names other keys than those of the log.', 'format.json');
  }
  const bytes = fileBytes(join(log.dir, WHERE), 4 * MEBI);
  if (bytes === undefined) {
    yield bad(
      'missing',
      'The key file is missing: nobody can open a copy of the log without it. Put a copy of it back.'
    );
    return;
  }
  try {
    const body = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const text = canonical(body);
    const mac = String(body['mac']);
    const epochs = body['epochs'] as Wrapped[];
    if (
      body['format'] !== 'syft-sync-keys' ||
      sha256(Buffer.from(text), Buffer.from(mac)).toString('hex') !== body['sum'] ||
      epochs.length === 0 ||
      epochs.some(({ epoch, byPassphrase, byAge }, i) => epoch !== i + 1 || (byPassphrase ?? byAge) === undefined)
    ) {
      throw new Error();
    }
    if (body['workspace'] !== log.workspace) {
      yield bad('config', 'The key file belongs to another log.');
      return;
    }
    log.epochs = epochs.length;
    if (masters === undefined) return;
    const all = Buffer.concat(
      epochs.map(({ epoch }) => (whole(epoch) ? masters.master(epoch) : undefined) ?? Buffer.alloc(0))
    );
    const key = derived(all, log.workspace, 'key-file', new Uint8Array(0));
    const expected = createHmac('sha256', key).update(text).digest();
    const found = Buffer.from(mac, 'base64');
    if (found.length !== expected.length || !timingSafeEqual(found, expected)) {
      yield bad('sealed', 'The key file was altered by somebody who does not have the keys.');
    }
  } catch {
    yield bad('checksum', 'The key file is damaged. Put a copy of it back; any copy of the log has one.');
  }
}
