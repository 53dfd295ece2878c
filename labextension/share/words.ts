/** What the share dialog proposes and says. Pure; every word through the translator. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ContactDto, PlanMessageResult } from '../../server/src/api/contract';
import { baseName, folderOf, printable } from '../history/words';

/** Whether only the recipients can open what is sent. */
export type Sealing =
  | { kind: 'nobody' }
  /** There is nothing to send yet, and nothing was asked. */
  | { kind: 'unasked' }
  | { kind: 'sealed' }
  /** No age key is known of any of them. */
  | { kind: 'open'; without: readonly string[] }
  /** Of some: a message is sealed for all of its recipients or for none. */
  | { kind: 'mixed'; without: readonly string[] };

export function sealingOf(
  recipients: readonly string[],
  { sealed, unsealable }: Pick<PlanMessageResult, 'sealed' | 'unsealable'>
): Sealing {
  if (recipients.length === 0) return { kind: 'nobody' };
  if (sealed) return { kind: 'sealed' };
  return { kind: unsealable.length < recipients.length ? 'mixed' : 'open', without: unsealable };
}

/** @param encrypt - whether it is to be where it can be */
export function sealingSentence(
  sealing: Sealing,
  recipients: readonly string[],
  trans: TranslationBundle,
  encrypt = true
): string {
  if (!encrypt && (sealing.kind === 'sealed' || sealing.kind === 'mixed')) {
    return trans.__(
      'Not encrypted: whoever gets the file can read it, and not only %1. It is signed, so nobody can alter it unnoticed.',
      names(recipients, trans)
    );
  }
  switch (sealing.kind) {
    case 'nobody':
      return trans.__(
        'Not encrypted: whoever gets the file can read it. It is signed, so nobody can alter it unnoticed.'
      );
    case 'unasked':
      return trans.__('Whether it can be encrypted is said here once there are files.');
    case 'sealed':
      return trans.__(
        'Encrypted: only %1 can open it, you cannot either. The versions it is made of stay here.',
        names(recipients, trans)
      );
    case 'open':
      return trans.__(
        'Not encrypted, since no age key is known of %1: whoever gets the file can read it. To encrypt it, add the key (age1…) to the contact or put it here instead.',
        names(sealing.without, trans)
      );
    case 'mixed':
      return trans.__(
        'It is encrypted for all recipients or for none, and no age key is known of %1. Take them out, or put their key (age1…) here instead.',
        names(sealing.without, trans)
      );
  }
}

/** `Ana`, `Ana and Ben`, `Ana, Ben and 3 more`. */
export function names(all: readonly string[], trans: TranslationBundle): string {
  const [first = '', second, ...more] = all.map(name => printable(recipientName(name)));
  if (second === undefined) return first;
  if (more.length === 0) return trans.__('%1 and %2', first, second);
  return trans.__('%1, %2 and %3 more', first, second, more.length);
}

/** An age recipient is 62 letters: its ends tell it apart. */
export function recipientName(name: string): string {
  return /^age1[a-z0-9]{50,}$/.test(name) ? `${name.slice(0, 9)}…${name.slice(-4)}` : name;
}

/**
 * What is wrong with a recipient as it was typed; undefined when nothing is.
 *
 * That a key is one at all is found by the sidecar, which knows its check sum; a key that was cut short is found here.
 */
export function recipientFault(text: string, trans: TranslationBundle): string | undefined {
  if (/^AGE-SECRET-KEY-/i.test(text)) {
    return trans.__('This is a secret key. Give it to nobody; the one that begins with age1 is for others.');
  }
  if (/^age1/i.test(text) && !/^age1[02-9ac-hj-np-z]{58,}$/.test(text)) {
    return trans.__('%1 is not a whole age key.', printable(recipientName(text)));
  }
  return undefined;
}

/** Recipients of a text: one, or several with commas or lines between them. */
export function recipientsIn(text: string): string[] {
  return text
    .split(/[,;\n]/)
    .map(part => part.trim())
    .filter(part => part !== '');
}

/** Those who have a mailbox, each name once. */
export function withMailbox(contacts: readonly ContactDto[]): string[] {
  return [...new Set(contacts.filter(({ mailbox }) => mailbox !== undefined).map(({ name }) => name))];
}

/**
 * A name for the file that is made, beside what it is made of: `data/analysis.syft` for `data/analysis.ipynb`, for a folder that of
 * the folder, for several that of the folder they are all in.
 *
 * @param paths - what was asked to be shared; of the workspace itself: `''`
 */
export function proposedPath(paths: readonly string[]): string {
  const [first] = paths;
  if (first === undefined) return 'message.syft';
  if (paths.length === 1) {
    const name = baseName(first);
    const dot = name.lastIndexOf('.');
    const stem = (dot > 0 ? name.slice(0, dot) : name) || 'workspace';
    return below(folderOf(first), `${stem}.syft`);
  }
  const folder = commonFolder(paths);
  return below(folder, `${baseName(folder) || 'files'}.syft`);
}

/** The same name with a number, as long as it is taken. */
export function freePath(path: string, isTaken: (name: string) => boolean): string {
  const folder = folderOf(path);
  const stem = baseName(path).replace(/\.syft$/, '');
  for (let number = 1; ; number++) {
    const name = number === 1 ? `${stem}.syft` : `${stem}-${number}.syft`;
    if (!isTaken(name)) return below(folder, name);
  }
}

/** What is wrong with the place, undefined when nothing is. What is there already is found by the sidecar. */
export function placeFault(path: string, trans: TranslationBundle): string | undefined {
  const parts = path.split('/');
  if (path === '' || path.endsWith('/')) return trans.__('Name the file, such as analysis.syft.');
  if (path.startsWith('/') || parts.includes('..') || path.includes('\0')) {
    return trans.__('Choose a place in the workspace, relative to its top.');
  }
  if (parts[0] === '.syft-sync') return trans.__('Syft Sync keeps its log there. Choose another folder.');
  return undefined;
}

/** A name of a file of ours, whatever was typed. */
export function archivePath(text: string): string {
  const path = text.trim();
  return path === '' || path.endsWith('/') || /\.syft$/i.test(path) ? path : `${path}.syft`;
}

function below(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** The folder that all of them are in; empty for the top. */
export function commonFolder(paths: readonly string[]): string {
  const folders = paths.map(path => folderOf(path).split('/'));
  const [first = []] = folders;
  let length = 0;
  while (length < first.length && folders.every(folder => folder[length] === first[length])) length++;
  return first.slice(0, length).join('/');
}
