/**
 * Which of the files seen now are files known before under another name. Pure: identities in, pairs out.
 *
 * A file keeps its identity (device, inode, birth time) when it is renamed, alone or with a directory above it. A pair is
 * a move only when the old name is free now, or was itself filled by a move (swaps and chains). A file renamed over a name
 * that was in use is a save of that name, not a move; so is the second half of "rename away, write anew".
 */
import type { EntryType } from './change.ts';
import type { PathName } from './path-name.ts';

/** What tells one file from another whatever its name. Times in milliseconds since the epoch. */
export interface Identity {
  readonly type: EntryType;
  readonly dev: number;
  readonly ino: number;
  /** Birth time; 0 where the file system has none. */
  readonly birth: number;
  readonly mtime: number;
  readonly size: number;
}

/** A path whose present identity is not the recorded one. */
export interface Seen {
  readonly path: PathName;
  readonly identity: Identity;
  /** The path was recorded, under another identity. */
  readonly known: boolean;
}

/** A recorded path that does not hold its recorded identity any more. */
export interface Lost {
  readonly path: PathName;
  readonly identity: Identity;
  /** Something else stands there now. */
  readonly refilled: boolean;
}

export interface Move {
  readonly from: PathName;
  readonly to: PathName;
}

/** Inodes are used again soon after a deletion; where birth times exist they tell the old file from the new. */
export function sameIdentity(a: Identity, b: Identity): boolean {
  if (a.type !== b.type || a.dev !== b.dev || a.ino !== b.ino) return false;
  if (a.birth > 0 && a.birth === b.birth) return true;
  return a.mtime === b.mtime && a.size === b.size;
}

/**
 * Pairs what was lost with what was seen.
 *
 * @param seen Paths that hold an identity they did not hold before.
 * @param lost Paths that do not hold their recorded identity any more.
 * @returns Moves in an order that can be carried out: a name is left before it is filled, except inside a swap.
 */
export function findMoves(seen: readonly Seen[], lost: readonly Lost[]): Move[] {
  if (seen.length === 0 || lost.length === 0) return [];
  const byInode = new Map<number, Lost[]>();
  for (const entry of lost) {
    const list = byInode.get(entry.identity.ino);
    if (list === undefined) byInode.set(entry.identity.ino, [entry]);
    else list.push(entry);
  }
  const target = new Map<PathName, Seen>();
  const source = new Map<PathName, Lost>();
  for (const entry of seen) {
    const match = byInode
      .get(entry.identity.ino)
      ?.find(l => l.path !== entry.path && !target.has(l.path) && sameIdentity(l.identity, entry.identity));
    if (match === undefined) continue;
    target.set(match.path, entry);
    source.set(entry.path, match);
  }
  // Drop pairs until the rule holds for all that are left; each round can only drop more, so this ends.
  for (let dropped = true; dropped;) {
    dropped = false;
    for (const [from, to] of target) {
      const match = source.get(to.path);
      const sourceFree = match !== undefined && (!match.refilled || source.has(from));
      const targetFree = !to.known || target.has(to.path);
      if (sourceFree && targetFree) continue;
      target.delete(from);
      source.delete(to.path);
      dropped = true;
    }
  }
  const moves: Move[] = [];
  const done = new Set<PathName>();
  for (const start of target.keys()) {
    // Follow the chain to its end, then emit backwards: a name is left before it is filled.
    const chain: PathName[] = [];
    for (
      let from: PathName | undefined = start;
      from !== undefined && target.has(from) && !done.has(from);
      from = target.get(from)?.path
    ) {
      done.add(from);
      chain.push(from);
    }
    for (const from of chain.reverse()) {
      const to = target.get(from);
      if (to !== undefined) moves.push({ from, to: to.path });
    }
  }
  return moves;
}
