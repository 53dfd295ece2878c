/** `init` and `keys`: begins a log, and says who can open an encrypted one. */
import { SyftError } from '../core/errors.ts';
import {
  addEpoch,
  readKeyFile,
  rewrapKeyFile,
  unlockKeyFile,
  writeKeyFile,
  type KeyFile,
  type KeySecret,
  type Wrapping
} from '../crypto/key-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { createEncryptedLog } from '../log/encryption.ts';
import {
  createFormatFile,
  encryptedError,
  isLogDirectory,
  readFormatFile,
  refuseStrangers
} from '../log/format-file.ts';
import { WriterLock } from '../log/lock.ts';
import type { Invocation } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { newPassphraseFor, passphraseFor, secretFor } from './secrets.ts';

/** A parent that holds the life line is the server extension: whoever reads what is said has a configuration, and no terminal. */
function isStartedByJupyter(invocation: Invocation): boolean {
  return invocation.flags.has('stdin-lifeline');
}

/** A log that is to be encrypted and is not there yet. @throws SyftError BAD_REQUEST when nothing would open it. */
export async function initEncrypted(context: Omit<CommandContext, 'withRecorder'>): Promise<LogKeys> {
  const { invocation, cwd, output, logDir } = context;
  refuseStrangers(logDir, true);
  const { recipients } = invocation;
  // With recipients a passphrase is not needed; one that is given counts all the same.
  const isGiven = invocation.values.has('passphrase-file') || recipients.length === 0;
  const passphrase = isGiven ? await passphraseFor(invocation, cwd, output, true) : undefined;
  if (passphrase === undefined && recipients.length === 0) {
    throw new SyftError(
      'BAD_REQUEST',
      isStartedByJupyter(invocation)
        ? 'An encrypted log needs something that opens it: in the configuration of the server, c.SyftSync.passphrase_file names a file with a passphrase and c.SyftSync.encrypt_recipients age recipients; in its environment SYFT_SYNC_PASSPHRASE_FILE or SYFT_SYNC_PASSPHRASE does. Then start it again.'
        : 'An encrypted log needs something that opens it: --passphrase-file FILE, SYFT_SYNC_PASSPHRASE, a terminal to type at, or --recipient age1….'
    );
  }
  return createEncryptedLog(logDir, { ...(passphrase !== undefined && { passphrase }), recipients });
}

/** `init`: begins a log without recording anything. */
export async function initCommand(context: CommandContext): Promise<number> {
  const { invocation, output, logDir } = context;
  const encrypt = invocation.flags.has('encrypt');
  if (!encrypt && invocation.recipients.length > 0) {
    throw new SyftError('BAD_REQUEST', '--recipient belongs to --encrypt.');
  }
  if (isLogDirectory(logDir)) {
    const { keyId } = readFormatFile(logDir);
    throw new SyftError(
      'BAD_REQUEST',
      `There is ${keyId === undefined ? 'a log' : 'an encrypted log'} at ${logDir} already.${
        encrypt && keyId === undefined
          ? ' A log is encrypted from its beginning or never: choose another directory.'
          : ''
      }`,
      { path: logDir }
    );
  }
  if (encrypt) {
    const keys = await initEncrypted(context);
    await output.result(
      { log: logDir, workspace: keys.workspace, encrypted: true, keyId: keys.keyId },
      `an encrypted log begins at ${logDir}; without its passphrase or an identity nobody can read it, you neither`
    );
    return 0;
  }
  refuseStrangers(logDir);
  const lock = await WriterLock.acquire(logDir, { command: 'init' });
  try {
    const { workspace } = createFormatFile(logDir);
    await output.result({ log: logDir, workspace, encrypted: false }, `a log begins at ${logDir}`);
  } finally {
    lock.release();
  }
  return 0;
}

function keyFileOf(logDir: string): { file: KeyFile; keyId: string } {
  const { workspace, keyId } = readFormatFile(logDir);
  if (keyId === undefined) {
    throw new SyftError('BAD_REQUEST', `The log at ${logDir} is not encrypted: it has no keys.`, { path: logDir });
  }
  return { file: readKeyFile(logDir, workspace), keyId };
}

function described(file: KeyFile, keyId: string): Record<string, unknown> {
  return {
    keyId,
    epochs: file.epochs.map(({ epoch, created }) => ({ epoch, created })),
    passphrase: file.passphrase !== undefined,
    recipients: file.recipients
  };
}

async function list(context: CommandContext): Promise<number> {
  const { file, keyId } = keyFileOf(context.logDir);
  const lines = [
    `opens with: ${[...(file.passphrase === undefined ? [] : ['a passphrase']), ...file.recipients].join(', ')}`,
    ...file.epochs.map(
      ({ epoch, created }) => `key ${epoch} of ${created}${epoch === file.epochs.length ? ', in use' : ''}`
    )
  ];
  await context.output.result(described(file, keyId), lines.join('\n'));
  return 0;
}

/** What a change needs: the keys, and the passphrase wherever the new file is to be wrapped by it. */
async function opened(
  context: CommandContext,
  file: KeyFile,
  keyId: string,
  keepsPassphrase: boolean
): Promise<{ keys: LogKeys; passphrase: string | undefined }> {
  const { invocation, cwd, output, logDir } = context;
  const secret: KeySecret | undefined = await secretFor(invocation, cwd, output);
  if (secret === undefined) throw encryptedError(logDir);
  const keys = await unlockKeyFile(file, secret, keyId);
  if ('passphrase' in secret) return { keys, passphrase: secret.passphrase };
  if (!keepsPassphrase || file.passphrase === undefined) return { keys, passphrase: undefined };
  // An identity opened it, but what is written must open with the passphrase too: it has to be the right one.
  const passphrase = await passphraseFor(invocation, cwd, output);
  if (passphrase === undefined) {
    throw new SyftError(
      'BAD_REQUEST',
      'The log has a passphrase too, and its key file is written anew: give the passphrase beside the identity.'
    );
  }
  await unlockKeyFile(file, { passphrase }, keyId);
  return { keys, passphrase };
}

const SUBCOMMANDS = ['list', 'rotate', 'passphrase', 'remove-passphrase', 'add-recipient', 'remove-recipient'] as const;
type Subcommand = (typeof SUBCOMMANDS)[number];

/** Writes the key file anew, while nobody else has the log. */
async function change(context: CommandContext, what: Exclude<Subcommand, 'list'>, recipient: string): Promise<number> {
  const { invocation, cwd, output, logDir } = context;
  keyFileOf(logDir);
  const lock = await WriterLock.acquire(logDir, { command: `keys ${what}` });
  try {
    const { file, keyId } = keyFileOf(logDir);
    const { keys, passphrase } = await opened(
      context,
      file,
      keyId,
      what !== 'passphrase' && what !== 'remove-passphrase'
    );
    let wrapping: Wrapping = { ...(passphrase !== undefined && { passphrase }), recipients: file.recipients };
    let said = '';
    if (what === 'passphrase') {
      const fresh = await newPassphraseFor(invocation, cwd, output);
      if (fresh === undefined) {
        throw new SyftError(
          'BAD_REQUEST',
          'Give the new passphrase: --new-passphrase-file FILE, or a terminal to type at.'
        );
      }
      wrapping = { passphrase: fresh, recipients: file.recipients };
      said =
        'the passphrase is another one; copies of the old key file open with the old one, and keys rotate shuts them out of what comes';
    } else if (what === 'remove-passphrase') {
      if (file.passphrase === undefined) {
        throw new SyftError('NOT_FOUND', 'The log has no passphrase; keys list shows what opens it.');
      }
      if (file.recipients.length === 0) {
        throw new SyftError(
          'BAD_REQUEST',
          'Nothing but the passphrase opens the log, so it stays: add an age recipient first (keys add-recipient age1…).'
        );
      }
      wrapping = { recipients: file.recipients };
      said =
        'no passphrase opens the log any more; copies of the old key file still open with it, and keys rotate shuts them out of what comes';
    } else if (what === 'add-recipient') {
      if (file.recipients.includes(recipient)) {
        throw new SyftError('BAD_REQUEST', `${recipient} can open the log already.`);
      }
      wrapping = { ...wrapping, recipients: [...file.recipients, recipient] };
      said = `${recipient} can open the log`;
    } else if (what === 'remove-recipient') {
      if (!file.recipients.includes(recipient)) {
        throw new SyftError('NOT_FOUND', `${recipient} is no recipient of the log; keys list shows them.`);
      }
      wrapping = { ...wrapping, recipients: file.recipients.filter(one => one !== recipient) };
      said = `${recipient} is no recipient any more; copies of the old key file still open for it, and keys rotate shuts it out of what comes`;
    } else {
      said = `what is recorded from now on is encrypted with key ${keys.newest + 1}`;
    }
    const next =
      what === 'rotate' ? (await addEpoch(file, keys, wrapping)).file : await rewrapKeyFile(file, keys, wrapping);
    writeKeyFile(logDir, next);
    await output.result(described(next, keyId), said);
    return 0;
  } finally {
    lock.release();
  }
}

/** `keys list|rotate|passphrase|remove-passphrase|add-recipient|remove-recipient`. */
export function keysCommand(context: CommandContext): Promise<number> {
  const [name = 'list', recipient, ...more] = context.invocation.args;
  const what = SUBCOMMANDS.find(each => each === name);
  const takesRecipient = what === 'add-recipient' || what === 'remove-recipient';
  if (what === undefined || more.length > 0 || takesRecipient !== (recipient !== undefined)) {
    throw new SyftError(
      'BAD_REQUEST',
      'Usage: syft-sync keys list|rotate|passphrase|remove-passphrase|add-recipient age1…|remove-recipient age1…'
    );
  }
  return what === 'list' ? list(context) : change(context, what, recipient ?? '');
}
