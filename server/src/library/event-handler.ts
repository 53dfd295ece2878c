/** Custom event handlers: what an integrator writes to be told of changes, and the event they are given. */
import type { ChangeJson } from '../core/change.ts';

/** One change as a handler sees it. It is durable when the handler is called. */
export interface FileEvent {
  readonly type: 'created' | 'modified' | 'deleted' | 'moved';
  /** Absolute path of the file; for `moved`, where it was. */
  readonly srcPath: string;
  /** Absolute path it has now; only for `moved`. */
  readonly destPath?: string;
  readonly isDirectory: boolean;
  readonly timestamp: Date;
  /** Bytes. */
  readonly size?: number;
  /** `sha256:` and 64 hex digits. */
  readonly hash?: string;
  readonly versionId: string;
  /** The whole change. */
  readonly change: ChangeJson;
}

/**
 * Base class of custom handlers; override what you need. Handlers are called in the order of the log, one after the
 * other. A handler that throws or rejects is reported as a problem and never stops recording.
 */
export class EventHandler {
  onFileCreated(_event: FileEvent): void | Promise<void> {}
  onFileModified(_event: FileEvent): void | Promise<void> {}
  onFileDeleted(_event: FileEvent): void | Promise<void> {}
  onFileMoved(_event: FileEvent): void | Promise<void> {}
  /** Called for every event, before the particular one. */
  onAnyEvent(_event: FileEvent): void | Promise<void> {}
}

/** Calls the handler's methods for one event. */
export async function dispatchEvent(handler: EventHandler, event: FileEvent): Promise<void> {
  await handler.onAnyEvent(event);
  switch (event.type) {
    case 'created':
      return handler.onFileCreated(event);
    case 'modified':
      return handler.onFileModified(event);
    case 'deleted':
      return handler.onFileDeleted(event);
    case 'moved':
      return handler.onFileMoved(event);
  }
}
