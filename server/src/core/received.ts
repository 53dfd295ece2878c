/**
 * The line by which a receiver announces what it is about to put into a directory, in `cache/received.ndjson` of the log
 * of that directory. The recorder of the directory reads it and lets the change that results say where it came from.
 * Advisory: the file may be deleted at any time, and a line may be left over from a step that did not happen.
 */
import type { Cause } from './change.ts';
import type { PathName } from './path-name.ts';

/** Name of the journal below the log directory. */
export const RECEIVED_JOURNAL = 'cache/received.ndjson';

/** What a receiver is about to do. */
export interface Intent {
  readonly path: PathName;
  /** SHA-256 of the content that will stand there, hex; absent when the path is removed or becomes a directory. */
  readonly hash?: string;
  /** Workspace and version it comes from. */
  readonly workspace: string;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** One line, newline included. Names that are not UTF-8 survive: JSON escapes lone surrogates. */
export function formatIntent(intent: Intent): string {
  return `${JSON.stringify(intent)}\n`;
}

/** Reads one line; `undefined` for anything that is not whole. */
export function parseIntent(line: string): Intent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null) {
      return undefined;
    }
    const { path, hash, workspace, version, at } = value as Record<string, unknown>;
    if (
      typeof path !== 'string' ||
      typeof workspace !== 'string' ||
      typeof version !== 'string' ||
      typeof at !== 'number' ||
      (hash !== undefined && typeof hash !== 'string')
    ) {
      return undefined;
    }
    return { path, workspace, version, at, ...(hash !== undefined && { hash }) };
  } catch {
    return undefined;
  }
}

/** What a change says of itself when it carries out `intent`. */
export function causeOf(intent: Intent): Cause {
  return { kind: 'received', workspace: intent.workspace, version: intent.version };
}
