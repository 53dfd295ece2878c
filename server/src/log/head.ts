/** `head.json`: how far a stream is durable, said beside it, so that a tail cut off is noticed. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { readText } from '../storage/read-text.ts';

export interface Head {
  /** File name of the last segment. */
  readonly segment: string;
  /** Durable bytes of it. */
  readonly length: number;
  /** Last sequence number. */
  readonly seq: number;
  /** Chain value of the last frame, hex. */
  readonly chain: string;
  /** The stream was closed cleanly here. */
  readonly closed: boolean;
  /** Size of the checkpoint that stood beside it; absent where there was none. */
  readonly tree?: number;
  /** How many other streams the note `seen` beside it named; absent where there was none. Only with `tree`. */
  readonly others?: number;
}

function sum(head: Head): string {
  return createHash('sha256')
    .update(
      JSON.stringify([
        head.segment,
        head.length,
        head.seq,
        head.chain,
        head.closed,
        ...[head.tree, head.others].filter(value => value !== undefined)
      ])
    )
    .digest('hex');
}

export function encodeHead(head: Head): Buffer {
  return Buffer.from(`${JSON.stringify({ ...head, sum: sum(head) })}\n`);
}

/** The head of a stream; `damaged` when it does not carry its own sum. */
export function readHead(streamDir: string): Head | 'damaged' | undefined {
  let text: string;
  try {
    text = readText(join(streamDir, 'head.json'));
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? undefined : 'damaged';
  }
  return parseHead(text);
}

/** The head that a text is; `damaged` when it does not carry its own sum. */
export function parseHead(text: string): Head | 'damaged' {
  try {
    const {
      segment,
      length,
      seq,
      chain,
      closed,
      tree,
      others,
      sum: found
    } = JSON.parse(text) as Head & { sum: string };
    const head: Head = {
      segment,
      length,
      seq,
      chain,
      closed,
      ...(tree !== undefined && { tree }),
      ...(others !== undefined && { others })
    };
    return found === sum(head) && text === encodeHead(head).toString() ? head : 'damaged';
  } catch {
    return 'damaged';
  }
}
