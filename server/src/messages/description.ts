/**
 * What OpenMined's packages read of a message: the description of SyftMessage v1 (`<id>/<id>.json`), and the event messages of
 * syft-client and syft 0.10 (`proposed_file_changes.json`).
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { isoMicros } from '../core/change.ts';
import type { Manifest, ManifestFile } from './manifest.ts';

/** What a reader of SyftMessage v1 looks for. */
const SYFT_VERSION = '0.1.0';
export const EVENTS_MEMBER = 'proposed_file_changes.json';

/** Times in their form have no zone; they are UTC. */
function naive(micros: number): string {
  return isoMicros(micros).replace('Z', '');
}

/** `<id>/<id>.json`. Of several files the first is the one that readers of a single file see. */
export function descriptionOf({ id, sender, recipients, note, replyTo, files }: Manifest): Buffer {
  const [first] = files as [ManifestFile];
  const at = naive(Math.max(...files.map(file => file.at)));
  return Buffer.from(
    JSON.stringify(
      {
        version_id: first.versionId,
        event_type: `file_${first.kind}`,
        timestamp: naive(first.at),
        file_path: first.path,
        file_name: basename(first.path),
        size: first.size,
        hash: first.hash,
        dest_path: null,
        syft_message_id: id,
        has_syft_archive: true,
        message_id: id,
        sender: sender.name,
        recipient: recipients[0] ?? 'anyone',
        created_at: at,
        syft_version: SYFT_VERSION,
        ...(note !== undefined && { note }),
        ...(replyTo !== undefined && { reply_to: replyTo }),
        recipients,
        files: files.map(file => ({ path: file.path, version_id: file.versionId, size: file.size, hash: file.hash }))
      },
      null,
      2
    )
  );
}

/** A UUID; the same for the same message. */
export function uuid(seed: string): string {
  const hex = createHash('sha256').update(seed).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Python writes a whole number of seconds as `1795334400.0`, and finds the file by that text. @param micros Since the epoch. */
export function seconds(micros: number): string {
  const text = String(micros / 1e6);
  return text.includes('.') ? text : `${text}.0`;
}

/**
 * `proposed_file_changes.json`: one event for each file, its content in it.
 *
 * @param contents Of the files, in their order.
 */
export function eventsOf({ id, sender, files }: Manifest, contents: readonly Buffer[]): Buffer {
  const events = files.map((file, i) => {
    const content = contents[i] as Buffer;
    const text = content.toString('utf8');
    const isText = Buffer.from(text, 'utf8').equals(content);
    const event = JSON.stringify({
      id: uuid(`${id} event ${i}`),
      path_in_datasite: file.path,
      datasite_email: sender.name,
      content: isText ? text : content.toString('base64'),
      content_type: isText ? 'text' : 'binary',
      old_hash: file.previousHash ?? null,
      new_hash: file.hash,
      is_deleted: false
    });
    return `${event.slice(0, -1)},"submitted_timestamp":${seconds(file.at)},"timestamp":${seconds(file.at)}}`;
  });
  const newest = seconds(Math.max(...files.map(file => file.at)));
  const place = `{"id":"${uuid(`${id} message`)}","timestamp":${newest},"extension":".tar.gz"}`;
  return Buffer.from(
    `{"canonical_name":"FileChangeEventsMessage","version":"1","events":[${events.join(',')}],"message_filepath":${place}}`
  );
}
