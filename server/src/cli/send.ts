/** `send`: makes a message of versions and puts it into the mailboxes of those whom it is for. */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { configurationDirectory, deviceKey } from '../crypto/device-key.ts';
import { exportMessage } from '../library/export-message.ts';
import { LogView } from '../library/log-view.ts';
import { sentDetail, sentRecord } from '../library/sent-message.ts';
import { readableSize } from '../library/terminal-text.ts';
import { VERSION } from '../library/version.ts';
import { MessageBox } from '../messages/box.ts';
import { Contacts } from '../messages/contacts.ts';
import { deliver } from '../messages/mailbox.ts';
import type { CommandContext } from './context.ts';
import { noteRefused, noteUnproven, versionsOf } from './messages.ts';

export async function sendCommand(context: CommandContext): Promise<number> {
  const { invocation, output, signal, cwd, root, logDir } = context;
  const { to, values } = invocation;
  if (to.length === 0) throw new SyftError('BAD_REQUEST', 'Say who it is for: --to NAME. contacts list shows them.');
  const configuration = configurationDirectory();
  const contacts = new Contacts(configuration);
  // Nothing is made before it is known where it goes.
  const mailboxes = new Map<string, string>();
  for (const name of to) for (const mailbox of await contacts.mailboxesOf(name)) mailboxes.set(mailbox, name);
  const keys = await context.keysOf(logDir);
  await using view = await LogView.open({ dir: logDir, keys }, root);
  const { versions, refused } = versionsOf(view, invocation.args, cwd);
  const box = new MessageBox({ logDir, keys, program: VERSION });
  // Nothing of an encrypted log lies in its directory in the clear, not even for a moment.
  const dir = keys === undefined ? await box.workDirectory() : await mkdtemp(join(tmpdir(), 'syft-sync-send-'));
  try {
    const said = { recipients: to, note: values.get('note'), replyTo: values.get('reply-to') };
    const exported = await exportMessage({ logDir, log: view.reader, keys }, versions, join(dir, 'archive.syft'), {
      ...said,
      sender: values.get('from'),
      configuration,
      signal
    });
    await box.checkRoomForSent(exported.messageId);
    const started = Date.now();
    const reached: string[] = [];
    for (const [mailbox, name] of mailboxes) {
      try {
        await deliver(mailbox, exported.file, exported.messageId, {
          signal,
          onProgress: progress => output.progress({ ...progress, bytes: progress.done }, started, 'bytes')
        });
      } catch (error) {
        // Whoever sends it again should leave those out.
        if (reached.length > 0) output.note(`syft-sync: it was delivered to ${reached.join(', ')}, and not to ${name}`);
        throw error;
      }
      output.endProgress();
      output.detail(`put into the mailbox of ${name}, ${mailbox}`);
      reached.push(name);
    }
    const { size } = await stat(exported.file);
    const publicKey = deviceKey(configuration, logDir).publicKey.toString('base64');
    const record = sentRecord(versions, exported, { ...said, size, publicKey, delivered: { contact: to.join(', ') } });
    const id = await box.addSent(record, sentDetail(versions, said.note)).catch((error: unknown) => {
      // It is with them: were this a failure, it would be sent once more.
      if (!(error instanceof SyftError)) throw error;
      output.note(`syft-sync: it was sent, and is not in the outbox: ${error.message} [${error.code}]`);
      return undefined;
    });
    const { messageId, bytes, sealed, unproven } = exported;
    const count = versions.length === 1 ? '1 file' : `${versions.length} files`;
    await output.result(
      {
        ...(id !== undefined && { id }),
        messageId,
        to,
        mailboxes: [...mailboxes.keys()],
        versions: exported.versions,
        bytes,
        sealed,
        unproven,
        ...(refused.length > 0 && { refused })
      },
      `sent to ${to.join(', ')}: ${messageId}, ${count}, ${readableSize(bytes)}${sealed ? ', sealed' : ''}`
    );
    noteRefused(output, refused);
    if (!sealed) {
      output.note(
        `syft-sync: the message is not sealed: whoever can read the mailbox can read it; an age key makes it so`
      );
    }
    noteUnproven(output, unproven);
    return 0;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
