/** How the boxes say things: who, what, in which state. Pure; every word through the translator. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { MessageFileDto, MessageState, MessageSummary } from '../../server/src/api/contract';
import { absolute, baseName, printable, size } from '../history/words';

/** The state in a word or two. */
export function stateWord(state: MessageState, trans: TranslationBundle): string {
  switch (state) {
    case 'verified':
      return trans.__('verified');
    case 'new-sender':
      return trans.__('new sender');
    case 'changed-sender':
      return trans.__('other key than before');
    case 'unsigned':
      return trans.__('unsigned');
    case 'altered':
      return trans.__('altered');
    case 'locked':
      return trans.__('locked');
  }
}

/** What the state means, in a sentence. */
export function stateSentence(state: MessageState, name: string, trans: TranslationBundle): string {
  switch (state) {
    case 'verified':
      return trans.__('Signature, contents and proofs hold, and the key of %1 is known here.', name);
    case 'new-sender':
      return trans.__('Signature, contents and proofs hold. The key of %1 is not known here yet.', name);
    case 'changed-sender':
      return trans.__('%1 is known here with another key than the one that signed this.', name);
    case 'unsigned':
      return trans.__('Its contents are whole, but it is not signed: anybody can have made it.');
    case 'altered':
      return trans.__('It is not as its sender made it. It cannot be accepted.');
    case 'locked':
      return trans.__('It is sealed for somebody else: no identity here opens it.');
  }
}

/** True where there is something that can be taken into the workspace. */
export function acceptable(message: MessageSummary): boolean {
  return message.box === 'inbox' && ['verified', 'new-sender', 'unsigned'].includes(message.state);
}

/** Whose name stands in the row: the sender's, of what was sent the recipients'. */
export function who(message: MessageSummary, trans: TranslationBundle): string {
  if (message.box === 'outbox') {
    const names =
      message.recipients.length > 0
        ? message.recipients
        : message.delivered?.contact
          ? [message.delivered.contact]
          : [];
    const [first, second, ...more] = names.map(name => printable(recipientName(name)));
    if (first === undefined) return trans.__('For anybody');
    if (second === undefined) return trans.__('To %1', first);
    if (more.length === 0) return trans.__('To %1 and %2', first, second);
    return trans.__('To %1, %2 and %3 more', first, second, more.length);
  }
  return message.sender === undefined ? trans.__('Unknown sender') : senderName(message, trans);
}

/** The sender's name, or what stands for it. */
export function senderName(message: MessageSummary, trans: TranslationBundle): string {
  if (message.sender === undefined) return trans.__('the sender');
  if (message.sender.own) return trans.__('You');
  return printable(message.sender.name) || trans.__('Unnamed sender');
}

/** An age recipient is 62 letters: its ends tell it apart. */
export function recipientName(name: string): string {
  return /^age1[a-z0-9]{50,}$/.test(name) ? `${name.slice(0, 9)}…${name.slice(-4)}` : name;
}

/** `analysis.ipynb`, `a.csv, b.csv`, `a.csv and 3 more`; what there is to say when the message shows no files. */
export function what(message: MessageSummary, trans: TranslationBundle): string {
  const { files, paths } = message;
  const [first, second] = paths.map(path => printable(baseName(path)));
  if (first === undefined) {
    return files > 0 ? trans._n('%1 file', '%1 files', files) : trans.__('%1, not opened', size(message.size));
  }
  if (files === 1) return first;
  if (files === 2 && second !== undefined) return trans.__('%1, %2', first, second);
  return trans.__('%1 and %2 more', first, files - 1);
}

/** How much it is: of the contents, which is what it takes in the workspace; nothing of what was not opened. */
export function howMuch(message: MessageSummary): string {
  return message.paths.length > 0 ? size(message.bytes) : '';
}

/** What became of it, in a word or two; undefined when nothing has yet. */
export function fate(message: MessageSummary, trans: TranslationBundle): string | undefined {
  if (message.box === 'inbox') return message.accepted === undefined ? undefined : trans.__('accepted');
  if (message.delivered?.contact !== undefined) {
    return trans.__('in the mailbox of %1', printable(message.delivered.contact));
  }
  if (message.delivered?.path !== undefined) {
    return trans.__('saved as %1', printable(baseName(message.delivered.path)));
  }
  return trans.__('kept here');
}

/** A note in one line. */
export function noteLine(note: string): string {
  return printable(note.replace(/\s+/g, ' ').trim());
}

/** The tooltip of a row: everything, with the words of the key. */
export function tooltip(message: MessageSummary, trans: TranslationBundle): string {
  const { sender, accepted } = message;
  const lines = [who(message, trans)];
  if (message.box === 'inbox') {
    if (sender?.fingerprint !== undefined) lines.push(trans.__('Key: %1', sender.fingerprint));
    lines.push(printable(message.problem ?? stateSentence(message.state, senderName(message, trans), trans)));
  }
  if (message.sealed) lines.push(trans.__('Sealed: only the recipients can open it.'));
  lines.push(
    ...message.paths.slice(0, 8).map(printable),
    ...(message.files > 8 ? [trans._n('and %1 more file', 'and %1 more files', message.files - 8)] : [])
  );
  if (message.note !== undefined && message.note !== '') {
    const note = noteLine(message.note);
    lines.push(`“${note.length > 300 ? `${note.slice(0, 299)}…` : note}”`);
  }
  lines.push(
    message.box === 'inbox'
      ? trans.__('Received %1', absolute(message.receivedAt))
      : trans.__('Sent %1', absolute(message.receivedAt))
  );
  if (accepted !== undefined) {
    lines.push(
      accepted.to === undefined || accepted.to === ''
        ? trans.__('Accepted %1', absolute(accepted.at))
        : trans.__('Accepted %1, into %2', absolute(accepted.at), printable(accepted.to))
    );
  }
  const became = message.box === 'outbox' ? fate(message, trans) : undefined;
  if (became !== undefined) lines.push(became);
  return lines.join('\n');
}

/** One sentence for screen readers. @param ago - how long ago it came, in words */
export function messageSentence(message: MessageSummary, ago: string, trans: TranslationBundle): string {
  const parts = [who(message, trans)];
  if (message.box === 'inbox') {
    if (!message.read) parts.unshift(trans.__('Unread'));
    parts.push(stateWord(message.state, trans));
  }
  parts.push(what(message, trans));
  const much = howMuch(message);
  if (much !== '') parts.push(much);
  if (message.sealed) parts.push(trans.__('sealed'));
  const became = fate(message, trans);
  if (became !== undefined) parts.push(became);
  if (message.note !== undefined && message.note !== '') parts.push(noteLine(message.note).slice(0, 200));
  parts.push(ago);
  return parts.join(', ');
}

/** What accepting a file does to what is here, in a word or two. */
export function hereWord(here: MessageFileDto['here'], trans: TranslationBundle): string {
  switch (here) {
    case 'same':
      return trans.__('same as here');
    case 'different':
      return trans.__('replaces yours');
    case 'missing':
      return trans.__('new here');
    case 'deleted':
      return trans.__('deleted here');
  }
}

/** Paths that a sentence names. */
const MOST_NAMED = 3;

/** What is to be known of files that a message says were deleted, which accepting it leaves; undefined when there are none. */
export function leftSentence(
  notDeleted: readonly string[],
  name: string,
  trans: TranslationBundle
): string | undefined {
  if (notDeleted.length === 0) return undefined;
  const named = notDeleted.slice(0, MOST_NAMED).map(printable).join(', ');
  return trans._n(
    '%2 has deleted %1 file that was left here: %3',
    '%2 has deleted %1 files that were left here: %3',
    notDeleted.length,
    name,
    notDeleted.length > MOST_NAMED ? `${named}, \u2026` : named
  );
}
