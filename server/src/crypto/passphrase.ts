/** Where a passphrase comes from: a file, the environment, or a terminal, in this order. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { errnoOf, SyftError } from '../core/errors.ts';

const MAX_PASSPHRASE = 4096;

let fromEnvironment: string | undefined;

/**
 * Takes the passphrase out of the environment, so that no process started from here inherits it. Call before anything is
 * started. It stays readable in `/proc/<pid>/environ` of this process for its own user.
 */
export function takePassphraseFromEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  const value = env['SYFT_SYNC_PASSPHRASE'];
  delete env['SYFT_SYNC_PASSPHRASE'];
  if (value !== undefined && value !== '') fromEnvironment = value;
}

function checked(passphrase: string, from: string): string {
  if (passphrase === '') throw new SyftError('BAD_REQUEST', `The passphrase from ${from} is empty.`);
  if (Buffer.byteLength(passphrase) > MAX_PASSPHRASE) {
    throw new SyftError('BAD_REQUEST', `The passphrase from ${from} is longer than ${MAX_PASSPHRASE} bytes.`);
  }
  return passphrase;
}

/**
 * The first line of a file. It may be a pipe (`--passphrase-file /dev/stdin`).
 *
 * @throws SyftError BAD_REQUEST when it cannot be read or holds none.
 */
export function passphraseFromFile(path: string): string {
  let text: string;
  try {
    const fd = openSync(path, 'r');
    try {
      if (fstatSync(fd).isDirectory()) throw new Error('it is a directory');
      const bytes = Buffer.alloc(MAX_PASSPHRASE + 2);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null);
      }
      text = bytes.toString('utf8', 0, length);
      bytes.fill(0);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const why = errnoOf(error) ?? (error instanceof Error ? error.message : String(error));
    throw new SyftError('BAD_REQUEST', `The passphrase file ${path} cannot be read (${why}).`, { path, cause: error });
  }
  return checked((text.split('\n', 1)[0] ?? '').replace(/\r$/, ''), path);
}

/** A terminal to ask on. */
export interface PassphraseTerminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WritableStream;
}

/**
 * Asks on a terminal, without showing what is typed.
 *
 * @throws SyftError CANCELLED on Ctrl-C or Ctrl-D.
 */
export function askPassphrase(question: string, { input, output }: PassphraseTerminal): Promise<string> {
  const raw = input.isRaw;
  // Before the question: whoever types at once, or pastes, must not see it either.
  input.setRawMode(true);
  input.setEncoding('utf8');
  input.resume();
  output.write(question);
  return new Promise<string>((resolve, reject) => {
    let typed: string[] = [];
    const end = (): void => {
      input.off('data', take);
      input.off('end', gone);
      input.setRawMode(raw);
      input.pause();
      output.write('\n');
    };
    const gone = (): void => {
      end();
      reject(new SyftError('CANCELLED', 'No passphrase was given.'));
    };
    const take = (text: string): void => {
      for (const key of text) {
        if (key === '\r' || key === '\n') {
          end();
          try {
            resolve(checked(typed.join(''), 'the terminal'));
          } catch (error) {
            reject(error);
          }
          return;
        }
        if (key === '\u0003' || key === '\u0004') return gone();
        if (key === '\u007f' || key === '\b') typed.pop();
        else if (key === '\u0015') typed = [];
        else typed.push(key);
      }
    };
    input.on('data', take);
    input.on('end', gone);
  });
}

/**
 * The passphrase of a log.
 *
 * @param file `--passphrase-file`.
 * @param terminal Where to ask when there is no other way; `undefined` when nobody is there.
 * @param fresh A new passphrase: it is asked for twice.
 * @returns `undefined` when there is none and nobody to ask.
 */
export async function findPassphrase(
  file: string | undefined,
  terminal: PassphraseTerminal | undefined,
  fresh = false
): Promise<string | undefined> {
  if (file !== undefined) return passphraseFromFile(file);
  if (fromEnvironment !== undefined) return checked(fromEnvironment, 'SYFT_SYNC_PASSPHRASE');
  if (terminal === undefined) return undefined;
  return fresh ? askNewPassphrase(terminal) : askPassphrase('Passphrase: ', terminal);
}

/** Asks twice. @throws SyftError CANCELLED; BAD_REQUEST when the answers differ. */
export async function askNewPassphrase(terminal: PassphraseTerminal): Promise<string> {
  const first = await askPassphrase('New passphrase: ', terminal);
  if ((await askPassphrase('The same again: ', terminal)) === first) return first;
  throw new SyftError('BAD_REQUEST', 'The two passphrases differ; nothing was changed.');
}
