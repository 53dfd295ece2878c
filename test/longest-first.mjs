/**
 * The order of test files where none has run before, as in a fresh clone: those that take longest first, so that the last file does
 * not run alone. Once they have run here, Jest goes by what it measured.
 */
import Sequencer from '@jest/test-sequencer';

/** By processor time, longest first; files that are not named take a few seconds. */
const LONG = [
  'log/crash',
  'log/faults',
  'capture/live',
  'index/conformance',
  'log/model',
  'cli/contract',
  'log/flip',
  'capture/bad-input',
  'sync/both-ways',
  'sync/kill',
  'index/change-index',
  'cli/encrypted',
  'capture/scale',
  'hints/conformance',
  'sync/storage',
  'log/system-faults'
].map(name => `/${name}.test.ts`);

const rank = path => {
  const found = LONG.findIndex(name => path.endsWith(name));
  return found < 0 ? LONG.length : found;
};

export default class LongestFirst extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests);
    return sorted.some(test => test.duration !== undefined)
      ? sorted
      : sorted.sort((a, b) => rank(a.path) - rank(b.path));
  }
}
