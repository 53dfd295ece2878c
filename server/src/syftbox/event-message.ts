/**
 * `syfteventsmessagev3_<seconds>_<uuid>.tar.gz`, as syft-client 0.1.88 to 0.1.117 and `syft` 0.10 write and read it: a gzip tar with the one
 * member `proposed_file_changes.json`, in which each file is whole.
 */
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { EVENTS_MEMBER, seconds, uuid } from '../messages/description.ts';

/** A file that was written, or is gone. */
export interface ChangeEvent {
  /** Relative to the datasite. */
  readonly path: string;
  /** Absent: it is gone. */
  readonly content?: Buffer | undefined;
  /** SHA-256 of the content, hex. */
  readonly hash?: string | undefined;
  /** Of what was there before; absent: nothing was. */
  readonly previousHash?: string | undefined;
  /** Microseconds since the epoch. */
  readonly at: number;
}

/** An event as JSON. @param owner Of the datasite, an address. */
export function eventJson({ path, content, hash, previousHash, at }: ChangeEvent, owner: string): string {
  const text = content?.toString('utf8');
  const isText = content !== undefined && Buffer.from(text ?? '', 'utf8').equals(content);
  const event = JSON.stringify({
    id: uuid(JSON.stringify(['event', owner, path, at, previousHash ?? null, hash ?? null])),
    path_in_datasite: path,
    datasite_email: owner,
    content: content === undefined ? null : isText ? text : content.toString('base64'),
    content_type: content === undefined ? null : isText ? 'text' : 'binary',
    old_hash: previousHash ?? null,
    new_hash: hash ?? null,
    is_deleted: content === undefined
  });
  return `${event.slice(0, -1)},"submitted_timestamp":${seconds(at)},"timestamp":${seconds(at)}}`;
}

export interface EventMessage {
  readonly id: string;
  readonly fileName: string;
  readonly bytes: Buffer;
}

/**
 * Events as a message; the same events are the same bytes.
 *
 * @param events Of {@link eventJson}, in the order in which they are to be applied.
 * @param at Microseconds since the epoch; messages are applied in the order of this.
 */
export async function eventMessage(events: readonly string[], at: number): Promise<EventMessage> {
  const list = events.join(',');
  const id = uuid(`message ${at} ${createHash('sha256').update(list).digest('hex')}`);
  const place = `{"id":"${id}","timestamp":${seconds(at)},"extension":".tar.gz"}`;
  const json = `{"canonical_name":"FileChangeEventsMessage","version":"1","events":[${list}],"message_filepath":${place}}`;
  const tar = pack();
  tar.entry({ name: EVENTS_MEMBER, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }, json);
  tar.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of tar) pieces.push(piece as Buffer);
  const bytes = await promisify(gzip)(Buffer.concat(pieces));
  return { id, fileName: `syfteventsmessagev3_${seconds(at)}_${id}.tar.gz`, bytes };
}
