/** A log that is received from, with what is remembered of it between passes. */
import type { Change } from '../core/change.ts';
import type { SyftError } from '../core/errors.ts';
import type { ReceiveState } from './cursor.ts';
import type { HaltEvent } from './receiving.ts';
import type { FollowedLog } from './source.ts';
import type { Staging } from './stage.ts';

export class Source {
  readonly log: FollowedLog;
  state: ReceiveState | undefined;
  staging: Staging | undefined;
  error: SyftError | Error | undefined;
  halted: HaltEvent | undefined;
  workspaceId: string | undefined;
  /** `all_versions`: versions still to be written, oldest first. */
  queue: Change[] = [];

  constructor(log: FollowedLog) {
    this.log = log;
  }
}
