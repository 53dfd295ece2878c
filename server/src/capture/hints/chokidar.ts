/** Hints from chokidar, in a thread. */
import type { HintSource } from '../hints.ts';
import { ThreadHints } from './thread.ts';

export function chokidarHints(): HintSource {
  return new ThreadHints('chokidar', new URL('./chokidar-worker.ts', import.meta.url));
}
