/** Where the command line finds what opens an encrypted log. */
import { resolve } from 'node:path';
import { identitiesFromFile } from '../crypto/age.ts';
import type { KeySecret } from '../crypto/key-file.ts';
import { askNewPassphrase, findPassphrase, passphraseFromFile, type PassphraseTerminal } from '../crypto/passphrase.ts';
import { isReadableByOthers } from '../library/encryption.ts';
import type { Invocation } from './arguments.ts';
import type { Output } from './output.ts';

/** Where somebody can be asked. With a life line standard input is not his. */
function terminal(invocation: Invocation): PassphraseTerminal | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY || invocation.flags.has('stdin-lifeline')) return undefined;
  return { input: process.stdin, output: process.stderr };
}

/** A file that the command line, or the environment, names. */
function secretFile(
  invocation: Invocation,
  cwd: string,
  output: Pick<Output, 'note'>,
  option: string,
  variable?: string
): string | undefined {
  const named = invocation.values.get(option) ?? (variable === undefined ? undefined : process.env[variable]);
  if (named === undefined || named === '') return undefined;
  const path = resolve(cwd, named);
  if (isReadableByOthers(path)) {
    output.note(`syft-sync: others can read ${path}, which opens the log; chmod 600 keeps them out`);
  }
  return path;
}

/**
 * The passphrase: from `--passphrase-file`, else from the environment, else from whoever sits there.
 *
 * @param fresh It is to open a new log, and is asked for twice.
 */
export function passphraseFor(
  invocation: Invocation,
  cwd: string,
  output: Pick<Output, 'note'>,
  fresh = false
): Promise<string | undefined> {
  const file = secretFile(invocation, cwd, output, 'passphrase-file', 'SYFT_SYNC_PASSPHRASE_FILE');
  return findPassphrase(file, terminal(invocation), fresh);
}

/** The passphrase that takes the place of the present one, which the environment may have. */
export async function newPassphraseFor(
  invocation: Invocation,
  cwd: string,
  output: Pick<Output, 'note'>
): Promise<string | undefined> {
  const file = secretFile(invocation, cwd, output, 'new-passphrase-file');
  if (file !== undefined) return passphraseFromFile(file);
  const asked = terminal(invocation);
  return asked === undefined ? undefined : askNewPassphrase(asked);
}

/**
 * What opens the log: an identity where one is named, else a passphrase. With `--passphrase-file` the passphrase does, for the identities are
 * then those that open messages.
 */
export async function secretFor(
  invocation: Invocation,
  cwd: string,
  output: Pick<Output, 'note'>
): Promise<KeySecret | undefined> {
  const file = invocation.values.has('passphrase-file')
    ? undefined
    : secretFile(invocation, cwd, output, 'identity-file', 'SYFT_SYNC_IDENTITY');
  if (file !== undefined) return { identities: identitiesFromFile(file) };
  const passphrase = await passphraseFor(invocation, cwd, output);
  return passphrase === undefined ? undefined : { passphrase };
}

/** The file with age identities that the command line or the environment names. */
export function identityFile({
  invocation,
  cwd
}: {
  readonly invocation: Invocation;
  readonly cwd: string;
}): string | undefined {
  const named = invocation.values.get('identity-file') ?? process.env['SYFT_SYNC_IDENTITY'];
  return named === undefined || named === '' ? undefined : resolve(cwd, named);
}
