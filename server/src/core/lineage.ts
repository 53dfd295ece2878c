/**
 * Which of two recorded histories of one path is the later one. Pure.
 *
 * Two workspaces that follow each other record the same file each in its own log, and each may see the other late. Both
 * sides put the same two histories in and get the same answer out, whatever the moment at which they ask; that is what
 * makes them converge, and what tells an echo of our own past from news.
 *
 * Evidence, strongest first: a change that says it was received from the other log; common states in the same order;
 * at last the clock (hybrid logical clock, device), which only decides between changes that knew nothing of each other.
 */

/** One recorded state of a path. */
export interface Moment {
  /** Names the state: equal keys are equal states. `''` is absent. */
  readonly key: string;
  readonly hlc: number;
  readonly device: string;
  readonly seq: number;
  /** Workspace whose log holds it. */
  readonly workspace: string;
  /** The version it was received as, when the recorder knows. */
  readonly cause?: { readonly workspace: string; readonly version: string };
}

/** `behind`: the other side will take ours. `ahead`: ours is to become theirs. `concurrent`: neither knew of the other. */
export type Relation = 'same' | 'behind' | 'ahead' | 'concurrent';

export interface Lineage {
  readonly relation: Relation;
  /** Whose last state has the higher stamp; decides when `concurrent`. */
  readonly newer: 'own' | 'other';
}

/** Common states are looked for among this many last moments on each side. */
const WINDOW = 64;

/** The name by which causes speak of a moment. */
function nameOf(moment: Moment): string {
  return `${moment.workspace}/${moment.device}.${moment.seq}`;
}

/** The key without what not every file system can keep: permission bits stand after a dot. */
function contentOf(moment: Moment | undefined): string | undefined {
  return moment?.key.split('.', 1)[0];
}

/** Highest index of a moment that was received from one of `sources`, with the index of what it was received as. */
function lastReceived(moments: readonly Moment[], sources: readonly Moment[]): readonly [number, number] | undefined {
  if (sources.length === 0) {
    return undefined;
  }
  let names: Map<string, number> | undefined;
  for (let i = moments.length - 1; i >= 0; i -= 1) {
    const cause = moments[i]?.cause;
    if (cause === undefined) {
      continue;
    }
    names ??= new Map(sources.map((source, at) => [nameOf(source), at]));
    const at = names.get(`${cause.workspace}/${cause.version}`);
    // A cause that names another content is a mistake or a lie.
    if (at !== undefined && contentOf(sources[at]) === contentOf(moments[i])) {
      return [i, at];
    }
  }
  return undefined;
}

function compareStamps(a: Moment, b: Moment): number {
  return (
    a.hlc - b.hlc ||
    (a.device < b.device ? -1 : a.device > b.device ? 1 : a.seq - b.seq) ||
    (a.workspace < b.workspace ? -1 : a.workspace > b.workspace ? 1 : 0)
  );
}

/** The moment a received one stands for, where the other history still has it. */
function origin(moment: Moment, others: readonly Moment[]): Moment {
  if (moment.cause === undefined) {
    return moment;
  }
  const name = `${moment.cause.workspace}/${moment.cause.version}`;
  return others.find(candidate => nameOf(candidate) === name && contentOf(candidate) === contentOf(moment)) ?? moment;
}

/**
 * Relates the history of a path in our own log to its history in the other logs.
 *
 * @param own Our moments, oldest first.
 * @param other Theirs, oldest first.
 */
export function relate(own: readonly Moment[], other: readonly Moment[]): Lineage {
  const ownLast = own.at(-1);
  const otherLast = other.at(-1);
  if (ownLast === undefined || otherLast === undefined) {
    const key = (ownLast ?? otherLast)?.key ?? '';
    if (key === '') {
      return { relation: 'same', newer: 'own' };
    }
    return ownLast === undefined ? { relation: 'ahead', newer: 'other' } : { relation: 'behind', newer: 'own' };
  }
  const order = compareStamps(origin(ownLast, other), origin(otherLast, own)) || compareStamps(ownLast, otherLast);
  const newer = order >= 0 ? 'own' : 'other';
  if (ownLast.key === otherLast.key) {
    return { relation: 'same', newer };
  }
  const byStamp = (): Lineage => ({ relation: newer === 'own' ? 'behind' : 'ahead', newer });

  let ownStart = -1;
  let otherStart = -1;
  const taken = lastReceived(own, other);
  const given = lastReceived(other, own);
  if (taken !== undefined || given !== undefined) {
    const [ownTaken, otherTaken] = taken ?? [-1, -1];
    const [otherGiven, ownGiven] = given ?? [-1, -1];
    if (taken !== undefined && given !== undefined && (ownTaken - ownGiven) * (otherTaken - otherGiven) < 0) {
      // Each took the other's state while giving its own: no order to be read from that.
      return byStamp();
    }
    ownStart = Math.max(ownTaken, ownGiven);
    otherStart = Math.max(otherTaken, otherGiven);
  }
  const ours = own.slice(Math.max(ownStart + 1, own.length - WINDOW));
  const theirs = other.slice(Math.max(otherStart + 1, other.length - WINDOW));
  if (theirs.length === 0 && ours.length === 0) {
    return byStamp();
  }
  if (theirs.length === 0) {
    return { relation: 'behind', newer };
  }
  if (ours.length === 0) {
    return { relation: 'ahead', newer };
  }
  const { ownTip, otherTip } = commonTips(ours, theirs);
  if (otherTip && ownTip) {
    return byStamp();
  }
  if (otherTip) {
    return { relation: 'behind', newer };
  }
  return { relation: ownTip ? 'ahead' : 'concurrent', newer };
}

/**
 * Of the longest common subsequences of both histories: whether one ends with our last moment (then theirs went on from
 * it), and whether one ends with theirs.
 */
function commonTips(ours: readonly Moment[], theirs: readonly Moment[]): { ownTip: boolean; otherTip: boolean } {
  const n = ours.length;
  const m = theirs.length;
  // best[j]: longest common subsequence of ours[0..i) and theirs[0..j).
  let best = new Array<number>(m + 1).fill(0);
  let longest = 0;
  let ownTip = false;
  let otherTip = false;
  for (let i = 1; i <= n; i += 1) {
    const next = new Array<number>(m + 1).fill(0);
    for (let j = 1; j <= m; j += 1) {
      if (ours[i - 1]?.key === theirs[j - 1]?.key) {
        const length = (best[j - 1] ?? 0) + 1;
        if (length > longest) {
          longest = length;
          ownTip = false;
          otherTip = false;
        }
        if (length === longest) {
          ownTip ||= i === n;
          otherTip ||= j === m;
        }
      }
      next[j] = Math.max(
        best[j] ?? 0,
        next[j - 1] ?? 0,
        ours[i - 1]?.key === theirs[j - 1]?.key ? (best[j - 1] ?? 0) + 1 : 0
      );
    }
    best = next;
  }
  return { ownTip, otherTip };
}
