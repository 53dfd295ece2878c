/** Hints from Node's own `fs.watch`, in a thread: one watch per directory, or one for the tree where the system has that. */
import type { HintSource } from '../hints.ts';
import { ThreadHints } from './thread.ts';

export function fsWatchHints(): HintSource {
  return new ThreadHints('fs-watch', new URL('./fs-watch-worker.ts', import.meta.url));
}
