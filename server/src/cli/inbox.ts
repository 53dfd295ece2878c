/** `inbox`: what others have sent, what it is, and taking it into the workspace or not. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { MessageState } from '../api/contract.ts';
import { SyftError } from '../core/errors.ts';
import { identitiesFromFile } from '../crypto/age.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { fetchMessages } from '../library/fetch-messages.ts';
import { checkMessage, ownKeys, type ImportedMessage } from '../library/import-message.ts';
import { workspacePath } from '../library/log-view.ts';
import { readableSize } from '../library/terminal-text.ts';
import { VERSION } from '../library/version.ts';
import { isLogDirectory } from '../log/format-file.ts';
import { MessageBox, type InboxEntry } from '../messages/box.ts';
import { writeNew } from '../messages/box-files.ts';
import { Contacts, wordsOf, type Standing } from '../messages/contacts.ts';
import type { CommandContext } from './context.ts';
import { askRecorder, printImported } from './messages.ts';
import { identityFile } from './secrets.ts';

const ACTIONS = {
  list: { names: 0, options: [] },
  fetch: { names: 0, options: ['keep'] },
  accept: { names: 1, options: ['to', 'trust'] },
  remove: { names: 1, options: [] }
} as const satisfies Record<string, { readonly names: number; readonly options: readonly string[] }>;
type Action = keyof typeof ACTIONS;
const USAGE = 'Usage: syft-sync inbox [list]|fetch [--keep]|accept ID [--to DIR] [--trust]|remove ID';

const STATE_OF: Record<Standing, MessageState> = {
  own: 'verified',
  known: 'verified',
  new: 'new-sender',
  changed: 'changed-sender',
  unsigned: 'unsigned'
};

/** What is to be done, and with which message. Throws BAD_REQUEST. */
function actionOf({ invocation }: CommandContext): { action: Action; named: string } {
  const [action = 'list', ...names] = invocation.args;
  if (!Object.hasOwn(ACTIONS, action)) throw new SyftError('BAD_REQUEST', `inbox has no ${action}. ${USAGE}`);
  const spec = ACTIONS[action as Action];
  if (names.length !== spec.names) throw new SyftError('BAD_REQUEST', USAGE);
  const all: readonly string[] = Object.values(ACTIONS).flatMap(({ options }) => options);
  const foreign = all.find(
    option =>
      (invocation.values.has(option) || invocation.flags.has(option)) &&
      !(spec.options as readonly string[]).includes(option)
  );
  if (foreign !== undefined) throw new SyftError('BAD_REQUEST', `inbox ${action} has no option --${foreign}.`);
  return { action: action as Action, named: names[0] ?? '' };
}

/** The box of the log, with what opens sealed messages. Throws LOG_MISSING. */
async function boxOf(context: CommandContext): Promise<MessageBox> {
  const { logDir } = context;
  if (!isLogDirectory(logDir)) {
    throw new SyftError('LOG_MISSING', `There is no log at ${logDir}, and so no inbox; syft-sync init begins one.`, {
      path: logDir
    });
  }
  const file = identityFile(context);
  const list = file === undefined ? [] : identitiesFromFile(file);
  return new MessageBox({
    logDir,
    keys: await context.keysOf(logDir),
    program: VERSION,
    ...(file !== undefined && { identities: () => ({ list, print: `${file}:${list.length}` }) })
  });
}

/** How well the sender of a message is known now, and what they are called here. */
async function judged(
  { logDir }: CommandContext,
  { verdict }: InboxEntry
): Promise<{ state: MessageState; name?: string; fingerprint?: string }> {
  const { state, sender } = verdict;
  if (state !== 'whole' || sender === undefined) return { state: state === 'locked' ? 'locked' : 'altered' };
  const { name, publicKey } = sender;
  const configuration = configurationDirectory();
  const contacts = new Contacts(configuration);
  const standing = await contacts.standingOf(
    { name, ...(publicKey !== undefined && { publicKey }) },
    ownKeys(configuration, logDir)
  );
  const contact = standing === 'known' ? await contacts.withKey(publicKey ?? '') : undefined;
  return {
    state: STATE_OF[standing],
    name: contact?.name ?? name,
    ...(publicKey !== undefined && { fingerprint: wordsOf({ publicKey }) })
  };
}

async function printEntry(context: CommandContext, entry: InboxEntry, before = ''): Promise<void> {
  const { id, at, size, source, read, verdict, accepted } = entry;
  const { state, name, fingerprint } = await judged(context, entry);
  const { sender: _, state: __, ...said } = verdict;
  const files = verdict.files === 1 ? (verdict.paths[0] ?? '') : `${verdict.files} files`;
  await context.output.result(
    {
      id,
      state,
      ...said,
      ...(name !== undefined && { sender: { name, ...(fingerprint !== undefined && { fingerprint }) } }),
      receivedAt: at,
      size,
      source,
      read,
      ...(accepted !== undefined && { accepted })
    },
    `${before}${[
      id.slice(0, 12),
      at,
      state.padEnd(14),
      readableSize(size).padStart(9),
      name ?? '?',
      verdict.problem ?? files,
      ...(verdict.note === undefined ? [] : [`"${verdict.note}"`]),
      ...(accepted === undefined ? [] : ['(accepted)'])
    ].join('  ')}`
  );
}

/** The message that is named by its id or a beginning of it. Throws NOT_FOUND, BAD_REQUEST. */
async function entryOf(box: MessageBox, named: string): Promise<InboxEntry> {
  const entries = (await box.list('inbox')).filter(entry => entry.box === 'inbox');
  const found = entries.filter(({ id }) => named.length >= 4 && id.startsWith(named.toLowerCase()));
  const [only] = found;
  if (only === undefined) {
    throw new SyftError('NOT_FOUND', `There is no message ${named} in the inbox; syft-sync inbox lists them.`);
  }
  if (found.length === 1) return only;
  throw new SyftError('BAD_REQUEST', `${found.length} messages begin with ${named}; give more of the id.`);
}

async function fetch(context: CommandContext, box: MessageBox): Promise<void> {
  const { invocation, output, logDir, signal } = context;
  const fetched = await fetchMessages(box, {
    logDir,
    configuration: configurationDirectory(),
    keep: invocation.flags.has('keep'),
    signal
  });
  if (fetched.mailboxes === 0) {
    throw new SyftError(
      'BAD_REQUEST',
      'This installation has no mailbox. Give it one that others can write to: syft-sync contacts me --mailbox file:///…'
    );
  }
  for (const id of fetched.ids) {
    const entry = await box.get(id);
    if (entry.box === 'inbox') await printEntry(context, entry);
  }
  for (const problem of fetched.problems) output.note(`syft-sync: ${problem}`);
  // Nothing came, and something is wrong: a script must not take that for an empty mailbox.
  if (fetched.received === 0 && fetched.problems.length > 0) {
    throw new SyftError('UNAVAILABLE', 'Nothing was fetched from the mailbox.');
  }
  if (fetched.received === 0) output.note('nothing new');
}

/** Imports a message of the box, which stays in it. */
async function accept(context: CommandContext, box: MessageBox, entry: InboxEntry): Promise<void> {
  const { invocation, cwd, root, logDir, signal } = context;
  const to = invocation.values.get('to');
  const folder = to === undefined || resolve(cwd, to) === root ? undefined : workspacePath(root, to, cwd);
  const identities = identityFile(context);
  const trust = invocation.flags.has('trust');
  // Refused, it is so before a recorder is troubled with it, and before anything lies in the clear.
  await checkMessage(await box.open(entry), logDir, {
    trust,
    ...(identities !== undefined && { identities: identitiesFromFile(identities) }),
    signal
  });
  const ask = (archive: string): Promise<Omit<ImportedMessage, 'sender'>> =>
    askRecorder(context, {
      archive,
      trust,
      ...(folder !== undefined && { to: folder }),
      ...(identities !== undefined && { identityFile: identities })
    });
  await using source = await box.open(entry);
  let result: Omit<ImportedMessage, 'sender'>;
  if (source.path !== undefined) {
    result = await ask(source.path);
  } else {
    // Sealed where it lies: the recorder reads a file.
    const dir = await mkdtemp(join(tmpdir(), 'syft-sync-accept-'));
    try {
      await writeNew(join(dir, 'archive.syft'), source.bytes());
      result = await ask(join(dir, 'archive.syft'));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
  await box.markAccepted(entry.id, {
    at: new Date().toISOString(),
    ...(folder !== undefined && { to: folder }),
    changes: result.changes.length
  });
  await printImported(context, result);
}

export async function inboxCommand(context: CommandContext): Promise<number> {
  const { action, named } = actionOf(context);
  const box = await boxOf(context);
  switch (action) {
    case 'list':
      for (const entry of await box.list('inbox')) if (entry.box === 'inbox') await printEntry(context, entry);
      return 0;
    case 'fetch':
      await fetch(context, box);
      return 0;
    case 'accept':
      await accept(context, box, await entryOf(box, named));
      return 0;
    case 'remove': {
      const entry = await entryOf(box, named);
      await box.remove(entry);
      await printEntry(context, entry, 'removed: ');
      return 0;
    }
  }
}
