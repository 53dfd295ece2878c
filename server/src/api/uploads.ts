/** Requests whose body is a message and no JSON. */
import type { IncomingMessage } from 'node:http';

/** No form of another site can send it. */
export const SYFT_TYPE = 'application/x-syft';
export const UPLOAD_PATH = '/api/messages/receive';

/** True when the body of a request is a message. */
export function isUpload({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): boolean {
  return method === 'POST' && /^application\/x-syft(?:\s*;|$)/i.test(headers['content-type'] ?? '');
}
