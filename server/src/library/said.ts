/** What a log says of its versions since they were recorded: labels and pins, and which contents were dropped. */
import type { Change } from '../core/change.ts';
import { Marks, type DropAct } from '../core/retention-act.ts';
import type { LogActs } from '../log/types.ts';

/** What the log says about its versions since they were recorded. */
export interface Said {
  readonly marks: Marks;
  /** The act by which a version has lost its content. */
  dropped(change: Change): DropAct | undefined;
}

export const NOTHING_SAID: Said = { marks: Marks.of([]), dropped: () => undefined };

/** What a log says of its versions now. */
export async function saidIn(log: LogActs): Promise<Said> {
  await log.searchActs();
  return { marks: Marks.of(log.acts()), dropped: change => log.dropped(change) };
}
