/** What the outbox keeps of a message that was sent. */
import { isoMicros, versionId, type Change } from '../core/change.ts';
import { displayPath, pathBase64 } from '../core/path-name.ts';
import type { OutboxRecord } from '../messages/box.ts';
import { cut, type Detail } from '../messages/judge.ts';
import type { ExportedMessage } from './export-message.ts';

const PATHS_SHOWN = 20;
const PATH_LENGTH = 1000;

/** What was said beside the versions, and where the message went. */
export interface Sent {
  /** As they were named. */
  readonly recipients: readonly string[];
  readonly note?: string | undefined;
  readonly replyTo?: string | undefined;
  /** Bytes of the archive. */
  readonly size: number;
  /** Of this installation, base64. */
  readonly publicKey: string;
  readonly delivered: OutboxRecord['delivered'];
}

export function sentRecord(
  versions: readonly Change[],
  { messageId, sealed, bytes, sender }: Pick<ExportedMessage, 'messageId' | 'sealed' | 'bytes' | 'sender'>,
  { recipients, note, replyTo, size, publicKey, delivered }: Sent
): OutboxRecord {
  return {
    sentAt: new Date().toISOString(),
    size,
    messageId,
    versions: versions.map(versionId),
    sender,
    publicKey,
    recipients: [...recipients],
    ...(note !== undefined && { note }),
    ...(replyTo !== undefined && { replyTo }),
    at: isoMicros(Math.max(...versions.map(({ at }) => at))),
    sealed,
    bytes,
    paths: versions.slice(0, PATHS_SHOWN).map(({ path }) => cut(displayPath(path), PATH_LENGTH)),
    delivered
  };
}

export function sentDetail(versions: readonly Change[], note: string | undefined): Detail {
  return {
    ...(note !== undefined && { note }),
    fileList: versions.map(change => {
      const base64 = pathBase64(change.path);
      return {
        path: displayPath(change.path),
        ...(base64 !== undefined && { pathBase64: base64 }),
        size: change.size ?? 0,
        hash: change.hash ?? '',
        versionId: versionId(change)
      };
    }),
    proven: [],
    claimed: []
  };
}
