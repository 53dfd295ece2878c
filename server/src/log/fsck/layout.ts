/** The top of a log: format.json, and nothing that does not belong there. */
import { join } from 'node:path';
import { SyftError } from '../../core/errors.ts';
import type { Damage } from '../types.ts';
import { DEVICE, fileBytes, listing } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import { checkKeys } from './keys.ts';
import { Opener, type MasterKeys } from './sealed.ts';

const SAFE = [
  'index',
  'cache',
  'locks',
  'keys',
  'conflicts',
  'receive',
  'quarantine',
  'messages',
  '.gitignore',
  'retention.json',
  'unfinished.json'
];

/**
 * Checks what stands at the top of a log, and notes what the rest needs of it.
 *
 * @param masters Of an encrypted log.
 */
export function* checkLayout(log: CheckedLog, masters: MasterKeys | undefined): Generator<Damage> {
  const bad = (kind: string, where: string, message: string): Damage => ({ kind, where, versions: [], message });
  let keyId: unknown;
  const format = fileBytes(join(log.dir, 'format.json'));
  if (format === undefined) {
    yield bad('missing', 'format.json', 'format.json is missing.');
  } else {
    log.format = format;
    try {
      const body = JSON.parse(format.toString()) as Record<string, unknown>;
      log.workspace = String(body['workspace']);
      if (body['format'] !== 'syft-sync-log' || !/^[0-9a-f]{32}$/.test(log.workspace)) throw new Error();
      const requires = Array.isArray(body['requires']) ? body['requires'] : [];
      if (requires.some(word => word !== 'encryption')) {
        throw new SyftError('LOG_NEWER_FORMAT', 'The log requires what this program does not know. Update syft-sync.');
      }
      log.sealed = requires.length > 0;
      keyId = body['keyId'];
    } catch (error) {
      if (error instanceof SyftError) throw error;
      yield bad('config', 'format.json', 'format.json does not describe a log.');
    }
  }
  if (log.sealed) {
    yield* checkKeys(log, masters, keyId);
    if (masters !== undefined) log.opener = new Opener(masters);
  }
  const names = listing(log.dir);
  if (!names.includes('log')) yield bad('missing', 'log', 'The directory of the streams is missing.');
  if (fileBytes(join(log.dir, '.gitignore'))?.toString() !== '*\n') {
    yield bad(
      'missing',
      '.gitignore',
      '.gitignore is missing or altered: a repository around the log would take it in.'
    );
  }
  for (const name of names) {
    if (name === 'format.json' || name === 'log' || SAFE.includes(name) || name.endsWith('.tmp')) continue;
    yield bad('unknown-file', name, `${name} does not belong to a log.`);
  }
  const devices = listing(join(log.dir, 'log'));
  if (names.includes('log') && devices.length === 0) yield bad('missing', 'log', 'All streams are missing.');
  for (const name of devices) {
    if (!DEVICE.test(name)) {
      yield bad('unknown-file', `log/${name}`, `log/${name} does not belong to a log.`);
    }
  }
}
