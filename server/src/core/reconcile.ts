/**
 * What a receiver has to do: a plan from three trees. Pure.
 *
 * `ancestor` is what both sides last agreed on, `disk` what stands there, `log` what shall stand there. The trees may be
 * parts of the whole: a path in none of the three is not looked at. A path counts as changed by a side when it differs from
 * the ancestor there; changed by the log alone it is carried out, changed on disk alone it is left to the other side.
 *
 * Invariants, each tested as a law: a disk state that equals neither ancestor nor log is never removed or replaced unless
 * the step says `keep`; without conflict only what equals the ancestor goes away; carrying out the plan and asking again
 * gives no steps.
 */
import { parentOf, type PathName } from './path-name.ts';

/** The state of one path. `other`: something we never touch (a FIFO, an unreadable file). */
export interface Node {
  readonly type: 'file' | 'symlink' | 'directory' | 'other';
  /** SHA-256 of the content (a symlink: of its target), hex. */
  readonly hash?: string;
  /** Permission bits, `& 0o777`. */
  readonly mode?: number;
}

/** path → state. A path that is not in it is absent. */
export type Nodes = ReadonlyMap<PathName, Node>;

export interface ReconcileInput {
  readonly ancestor: Nodes;
  readonly disk: Nodes;
  readonly log: Nodes;
  /** Target → source of the moves the log tells of. */
  readonly moves?: ReadonlyMap<PathName, PathName>;
  /** Who wins when both sides changed a path. Default: the log. */
  readonly newer?: (path: PathName) => 'disk' | 'log';
}

/** One step. `expect` is the state the disk must still have for the step to be right; `undefined` is absent. */
export type Step =
  | {
      readonly do: 'move';
      readonly path: PathName;
      readonly from: PathName;
      readonly expect: Node;
      readonly node: Node;
    }
  | { readonly do: 'remove'; readonly path: PathName; readonly expect: Node; readonly keep: boolean }
  | {
      readonly do: 'put';
      readonly path: PathName;
      readonly expect: Node | undefined;
      readonly node: Node;
      /** What stands there is the user's, and goes to the conflicts before it is replaced. */
      readonly keep: boolean;
    }
  | { readonly do: 'mode'; readonly path: PathName; readonly expect: Node; readonly node: Node };

export interface Conflict {
  readonly path: PathName;
  readonly winner: 'disk' | 'log';
  readonly disk: Node | undefined;
  readonly log: Node | undefined;
}

/** A path where the log cannot be followed. */
export interface Blocked {
  readonly path: PathName;
  readonly reason: 'below-a-file' | 'not-ours-to-touch';
}

export interface Plan {
  /** In the order to carry them out. */
  readonly steps: readonly Step[];
  /** Paths whose log state is seen and needs no step: the ancestor becomes the log there. */
  readonly settled: readonly PathName[];
  readonly conflicts: readonly Conflict[];
  readonly blocked: readonly Blocked[];
}

/** Equal as content: type and hash; the mode apart. */
export function sameContent(a: Node | undefined, b: Node | undefined): boolean {
  if (a === undefined || b === undefined) {
    return a === b;
  }
  return a.type === b.type && a.type !== 'other' && (a.type === 'directory' || a.hash === b.hash);
}

function sameMode(a: Node, b: Node): boolean {
  return a.type !== 'file' || a.mode === undefined || b.mode === undefined || a.mode === b.mode;
}

/** The proper prefixes of a path, longest first, the root left out. */
export function* above(path: PathName): Generator<PathName> {
  for (let dir = parentOf(path); dir !== ''; dir = parentOf(dir)) {
    yield dir;
  }
}

/** Plans. */
export function reconcile({ ancestor, disk, log, moves, newer = () => 'log' }: ReconcileInput): Plan {
  const settled: PathName[] = [];
  const conflicts: Conflict[] = [];
  const blocked: Blocked[] = [];
  const removes = new Map<PathName, Step & { do: 'remove' }>();
  const puts = new Map<PathName, Step & { do: 'put' }>();
  const modes: Step[] = [];

  // 1. Path by path, as if there were no directories.
  for (const path of new Set([...ancestor.keys(), ...disk.keys(), ...log.keys()])) {
    const a = ancestor.get(path);
    const d = disk.get(path);
    const l = log.get(path);
    if (l !== undefined && [...above(path)].some(dir => holdsNothing(log.get(dir)))) {
      blocked.push({ path, reason: 'below-a-file' });
      continue;
    }
    if (sameContent(d, l)) {
      if (d === undefined || l === undefined || sameMode(d, l)) {
        if (a !== l) {
          settled.push(path);
        }
      } else if (a !== undefined && sameContent(a, l) && a.mode !== undefined && sameMode(a, l)) {
        // Changed on disk alone.
      } else if (
        (a !== undefined && sameContent(a, d) && a.mode !== undefined && sameMode(a, d)) ||
        newer(path) === 'log'
      ) {
        modes.push({ do: 'mode', path, expect: d, node: l });
      } else {
        settled.push(path);
      }
      continue;
    }
    if (sameContent(a, l)) {
      continue;
    }
    if (sameContent(d, a)) {
      if (l !== undefined) {
        puts.set(path, { do: 'put', path, expect: d, node: l, keep: false });
      } else if (d !== undefined) {
        removes.set(path, { do: 'remove', path, expect: d, keep: false });
      }
      continue;
    }
    if (d?.type === 'other') {
      blocked.push({ path, reason: 'not-ours-to-touch' });
      continue;
    }
    if (l === undefined || (l.type === 'directory' && d !== undefined)) {
      // What was changed wins over what was removed, and content over an empty directory.
      settled.push(path);
      if (d?.type !== 'directory') {
        conflicts.push({ path, winner: 'disk', disk: d, log: l });
      }
      continue;
    }
    if (d === undefined || d.type === 'directory' || newer(path) === 'log') {
      puts.set(path, { do: 'put', path, expect: d, node: l, keep: d !== undefined && d.type !== 'directory' });
      if (d?.type !== 'directory' && l.type !== 'directory') {
        conflicts.push({ path, winner: 'log', disk: d, log: l });
      }
    } else {
      settled.push(path);
      conflicts.push({ path, winner: 'disk', disk: d, log: l });
    }
  }

  // 2. A file stands where a directory must be, or the other way round. The file yields: both sides can tell that alike.
  const survives = (path: PathName): boolean => disk.has(path) && !removes.has(path);
  const filled = new Set<PathName>();
  for (const [path, node] of disk) {
    if (survives(path) && node.type !== 'directory') {
      for (const dir of above(path)) {
        filled.add(dir);
      }
    }
  }
  // An empty directory of the user's counts as something below; one that merely holds what is removed does not.
  const parents = new Set<PathName>();
  for (const path of disk.keys()) {
    parents.add(parentOf(path));
  }
  for (const [path, node] of disk) {
    if (node.type === 'directory' && survives(path) && !parents.has(path)) {
      for (const dir of above(path)) {
        filled.add(dir);
      }
    }
  }
  for (const [path, put] of [...puts]) {
    if (put.node.type !== 'directory' && put.expect?.type === 'directory' && filled.has(path)) {
      puts.delete(path);
      settled.push(path);
      conflicts.push({ path, winner: 'disk', disk: put.expect, log: put.node });
    }
  }
  for (const path of [...puts.keys()]) {
    for (const dir of above(path)) {
      const standing = disk.get(dir);
      if (!holdsNothing(standing) || removes.has(dir) || puts.get(dir)?.node.type === 'directory') {
        continue;
      }
      if (standing === undefined || standing.type === 'other') {
        puts.delete(path);
        blocked.push({ path, reason: 'not-ours-to-touch' });
        break;
      }
      removes.set(dir, { do: 'remove', path: dir, expect: standing, keep: true });
      conflicts.push({ path: dir, winner: 'log', disk: standing, log: undefined });
    }
  }

  // 3. A removal and a creation that the log calls a move become one rename.
  const steps: Step[] = [];
  const moved: Step[] = [];
  for (const [to, from] of moves ?? []) {
    const put = puts.get(to);
    const remove = removes.get(from);
    if (
      put === undefined ||
      put.expect !== undefined ||
      remove === undefined ||
      remove.keep ||
      put.node.type === 'directory'
    ) {
      continue;
    }
    // A rename needs its target's parents free; what must go first is left to removal and creation.
    if (!sameContent(remove.expect, put.node) || [...above(to)].some(dir => removes.has(dir)) || nested(from, to)) {
      continue;
    }
    puts.delete(to);
    removes.delete(from);
    moved.push({ do: 'move', path: to, from, expect: remove.expect, node: put.node });
  }

  // 4. Order: what leaves, then what comes (parents first), then empty directories that go (deepest first).
  const byPath = (a: { path: PathName }, b: { path: PathName }): number =>
    a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
  const leaving = [...removes.values()].sort(byPath);
  steps.push(...moved);
  steps.push(...leaving.filter(step => step.expect.type !== 'directory'));
  steps.push(...[...puts.values()].sort(byPath));
  steps.push(...modes.sort(byPath));
  steps.push(...leaving.filter(step => step.expect.type === 'directory').reverse());
  // The last word on a path is the one that counts.
  const verdicts = new Map(conflicts.map(conflict => [conflict.path, conflict]));
  return { steps, settled, conflicts: [...verdicts.values()], blocked };
}

/** Names a state in few characters, for journals and histories. `''` is absent. */
export function keyOf(node: Node | undefined): string {
  switch (node?.type) {
    case undefined:
      return '';
    case 'directory':
      return 'd';
    case 'file':
      return `f${node.hash ?? '?'}.${node.mode === undefined ? '' : (node.mode & 0o777).toString(8)}`;
    case 'symlink':
      return `l${node.hash ?? '?'}`;
    case 'other':
      return '?';
  }
}

/** Inverse of {@link keyOf}; `undefined` for `''`. */
export function nodeOf(key: string): Node | undefined {
  const rest = key.slice(1);
  switch (key[0]) {
    case undefined:
      return undefined;
    case 'd':
      return { type: 'directory' };
    case 'f': {
      const dot = rest.indexOf('.');
      const mode = rest.slice(dot + 1);
      return { type: 'file', hash: rest.slice(0, dot), ...(mode !== '' && { mode: parseInt(mode, 8) }) };
    }
    case 'l':
      return { type: 'symlink', hash: rest };
    default:
      return { type: 'other' };
  }
}

function holdsNothing(node: Node | undefined): boolean {
  return node !== undefined && node.type !== 'directory';
}

function nested(a: PathName, b: PathName): boolean {
  return a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** True when the share of deletions says that something is wrong with the source rather than that somebody tidied up. */
export function deletesTooMuch(deletes: number, tracked: number, fraction: number): boolean {
  return tracked >= 10 && deletes > tracked * fraction;
}
