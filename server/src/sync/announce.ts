/** What a receiver tells the recorder of the output before it writes there, so that the recorder can say where it came from. */
import { appendFile, mkdir, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { versionId } from '../core/change.ts';
import type { PathName } from '../core/path-name.ts';
import { formatIntent, RECEIVED_JOURNAL, type Intent } from '../core/received.ts';
import type { Step } from '../core/reconcile.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { sealLines } from '../crypto/sealed-lines.ts';
import type { LogMoment } from './history.ts';
import { lstatOrMissing } from './look.ts';

/** Above this size the journal of intents starts anew. */
const INTENTS_MAX_BYTES = 4 * 1024 * 1024;

/** What the steps are about to do, for those that carry out a change of a log. */
export function intentsOf(steps: readonly Step[], sources: ReadonlyMap<PathName, LogMoment>): Intent[] {
  const at = Date.now();
  const intents: Intent[] = [];
  for (const step of steps) {
    const moment = sources.get(step.path);
    if (moment === undefined) continue;
    const hash = step.do === 'remove' || step.node.hash === undefined ? {} : { hash: step.node.hash };
    const origin = { workspace: moment.workspace, version: versionId(moment), at };
    intents.push({ path: step.path, ...hash, ...origin });
    // The old name is left. When somebody fills it at once, the recorder must know that it was free in between.
    if (step.do === 'move') intents.push({ path: step.from, ...origin });
  }
  return intents;
}

/**
 * Writes intents down beside the log of the output: its recorder may be another process, or be killed before it has recorded
 * what they announce.
 *
 * @param keys Of that log, when it is encrypted.
 */
export async function writeIntents(
  logDir: string,
  intents: readonly Intent[],
  keys: LogKeys | undefined
): Promise<void> {
  if (intents.length === 0) return;
  const journal = join(logDir, RECEIVED_JOURNAL);
  await mkdir(dirname(journal), { recursive: true, mode: 0o700 });
  const size = (await lstatOrMissing(journal))?.size ?? 0n;
  if (size > INTENTS_MAX_BYTES) await rename(journal, `${journal}.old`);
  const lines = intents.map(formatIntent).join('');
  await appendFile(journal, keys === undefined ? lines : sealLines(keys, RECEIVED_JOURNAL, lines), { mode: 0o600 });
}
