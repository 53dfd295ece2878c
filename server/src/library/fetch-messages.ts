/**
 * Takes what is new out of the mailbox of this installation into the inbox of a log. What stays in the mailbox, because it is to, or
 * because it cannot be removed, is noted in `<log>/messages/taken.json`: a person who takes it out of the inbox does not want it again.
 */
import { join } from 'node:path';
import * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import type { MessageBox } from '../messages/box.ts';
import { underLock } from '../messages/contacts.ts';
import { fetchMailbox } from '../messages/mailbox.ts';
import { ownSettings } from '../messages/own-contact.ts';
import { contentOf, makePrivateDirectory, replaceFile } from '../storage/durable.ts';

export interface FetchMessagesOptions {
  readonly logDir: string;
  /** Where it is said which mailbox that is. */
  readonly configuration: string;
  /** Leaves the messages in the mailbox, for other devices that share it. */
  readonly keep?: boolean | undefined;
  readonly signal: AbortSignal;
  /** Takes one in; durable when it has resolved. Default: the box does. */
  readonly take?: (bytes: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<void>;
}

export interface FetchedMessages {
  readonly received: number;
  /** Mailboxes that were looked into: none when this installation has none. */
  readonly mailboxes: number;
  /** Ids in the inbox, of what was received. */
  readonly ids: readonly string[];
  /** Sentences. */
  readonly problems: readonly string[];
}

const MAX_TAKEN = 200_000;
const TakenSchema = z.object({
  version: z.literal(1),
  ids: z.array(z.string().regex(/^[0-9a-f]{32}$/)).max(MAX_TAKEN)
});

/**
 * Fetches. Only one process does so at a time.
 *
 * @throws SyftError LOG_LOCKED when another one does and does not end, CANCELLED, DISK_*. What is wrong with the mailbox, or with a
 *   message in it, is a problem and no failure.
 */
export async function fetchMessages(box: MessageBox, options: FetchMessagesOptions): Promise<FetchedMessages> {
  const { logDir, configuration, keep = false, signal } = options;
  const { mailbox } = await ownSettings(configuration);
  if (mailbox === undefined) return { received: 0, mailboxes: 0, ids: [], problems: [] };
  const dir = join(logDir, 'messages');
  makePrivateDirectory(dir);
  return underLock(dir, 'the mailbox', async () => {
    const taken = await takenIn(dir);
    const there = new Set((await box.list('inbox')).map(({ id }) => id));
    const ids: string[] = [];
    const take =
      options.take ??
      (async (bytes: AsyncIterable<Uint8Array>, stop: AbortSignal) => void (await box.receive(bytes, 'mailbox', stop)));
    try {
      const { received, left, complete, problems } = await fetchMailbox(
        mailbox,
        id => there.has(id) || taken.has(id),
        async (bytes, { id }) => {
          await take(bytes, signal);
          ids.push(id);
        },
        { remove: !keep, signal }
      );
      // What does not lie there any more need not be known; of what was not looked at that is not known.
      note(dir, taken, new Set(complete ? left : [...taken, ...left]));
      return { received, mailboxes: 1, ids, problems };
    } catch (error) {
      if (!(error instanceof SyftError) || error.code === 'CANCELLED') throw error;
      return { received: ids.length, mailboxes: 1, ids, problems: [error.message] };
    }
  });
}

async function takenIn(dir: string): Promise<ReadonlySet<string>> {
  const bytes = await contentOf(join(dir, 'taken.json'));
  if (bytes === undefined) return new Set();
  try {
    return new Set(TakenSchema.parse(JSON.parse(bytes.toString('utf8'))).ids);
  } catch {
    // It only spares who uses it a message that was taken out of the inbox before.
    return new Set();
  }
}

function note(dir: string, before: ReadonlySet<string>, ids: ReadonlySet<string>): void {
  if (ids.size === before.size && [...ids].every(id => before.has(id))) return;
  const text = JSON.stringify({ version: 1, ids: [...ids].slice(-MAX_TAKEN) });
  replaceFile(join(dir, 'taken.json'), Buffer.from(`${text}\n`));
}
