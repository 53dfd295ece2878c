/**
 * What changed between two notebooks, by cell. Cells are matched by nbformat 4.5 ids first, then, among those left over,
 * by equal source and by similarity in order, so that notebooks without ids are compared as well.
 */

/** One cell as far as the comparison needs it. */
export interface Cell {
  readonly id: string | undefined;
  readonly type: string;
  readonly source: string;
  /** Canonical JSON of the outputs (code cells), `''` without. */
  readonly outputs: string;
  readonly executionCount: number | undefined;
  readonly metadata: string;
}

export type CellChangeKind = 'added' | 'removed' | 'modified' | 'moved';

/** One cell's change. Indices are 0-based positions in the old and the new notebook. */
export interface CellChange {
  readonly change: CellChangeKind;
  readonly oldIndex?: number;
  readonly newIndex?: number;
  readonly old?: Cell;
  readonly new?: Cell;
  /** Which parts differ, for `modified` (and `moved` that also changed). */
  readonly parts: readonly ('source' | 'outputs' | 'executionCount' | 'type' | 'metadata')[];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A multi-line string of nbformat: a string, or an array of lines. */
function joined(value: unknown): string {
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? value.filter(line => typeof line === 'string').join('') : '';
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).sort();
    return `{${keys.map(key => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** Outputs without what changes at each run but says nothing: execution counts. */
function canonicalOutputs(value: unknown): string {
  if (!Array.isArray(value) || value.length === 0) return '';
  return canonical(
    value.map((output: unknown) => {
      if (!isObject(output)) return output;
      const { execution_count: _, ...rest } = output;
      return rest;
    })
  );
}

/**
 * Reads a notebook's cells (nbformat 4, and 3 with worksheets).
 *
 * @returns `undefined` when the text is not a notebook.
 */
export function parseNotebook(text: string): Cell[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(parsed)) return undefined;
  const sheets = Array.isArray(parsed['worksheets']) ? (parsed['worksheets'] as unknown[]) : [];
  const cells = Array.isArray(parsed['cells'])
    ? (parsed['cells'] as unknown[])
    : sheets.flatMap(sheet => (isObject(sheet) && Array.isArray(sheet['cells']) ? (sheet['cells'] as unknown[]) : []));
  if (!Array.isArray(parsed['cells']) && sheets.length === 0) return undefined;
  return cells.filter(isObject).map(cell => ({
    id: typeof cell['id'] === 'string' ? cell['id'] : undefined,
    type: typeof cell['cell_type'] === 'string' ? cell['cell_type'] : 'unknown',
    source: joined(cell['source'] ?? cell['input']),
    outputs: canonicalOutputs(cell['outputs']),
    executionCount: typeof cell['execution_count'] === 'number' ? cell['execution_count'] : undefined,
    metadata: canonical(cell['metadata'] ?? {})
  }));
}

/** Share of common words (bag of tokens, Dice coefficient): cheap, order-free, good enough to pair edited cells. */
function similarity(a: string, b: string): number {
  if (a === b) return 1;
  const words = (text: string): string[] => text.match(/\w+|[^\s\w]/g) ?? [];
  const left = words(a);
  const right = words(b);
  if (left.length === 0 || right.length === 0) return 0;
  const counts = new Map<string, number>();
  for (const word of left) counts.set(word, (counts.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of right) {
    const n = counts.get(word) ?? 0;
    if (n > 0) {
      common += 1;
      counts.set(word, n - 1);
    }
  }
  return (2 * common) / (left.length + right.length);
}

const SIMILAR = 0.5;

/** Pairs of indices [old, new]; each index at most once. */
function matchCells(a: readonly Cell[], b: readonly Cell[]): [number, number][] {
  const pairs: [number, number][] = [];
  const freeA = new Set(a.keys());
  const freeB = new Set(b.keys());
  const pair = (i: number, j: number): void => {
    pairs.push([i, j]);
    freeA.delete(i);
    freeB.delete(j);
  };
  const matchBy = (key: (cell: Cell) => string | undefined): void => {
    const waiting = new Map<string, number[]>();
    for (const i of freeA) {
      const k = key(a[i] as Cell);
      if (k !== undefined) waiting.set(k, [...(waiting.get(k) ?? []), i]);
    }
    for (const j of [...freeB]) {
      const k = key(b[j] as Cell);
      const i = k === undefined ? undefined : waiting.get(k)?.shift();
      if (i !== undefined) pair(i, j);
    }
  };
  matchBy(cell => cell.id);
  matchBy(cell => (cell.source.trim() === '' ? undefined : `${cell.type}\n${cell.source}`));
  // What is left are edited cells without stable ids: walk both in order, take the best similar one close by.
  for (const j of [...freeB]) {
    let best: number | undefined;
    let bestScore = SIMILAR;
    let looked = 0;
    for (const i of freeA) {
      const old = a[i] as Cell;
      const now = b[j] as Cell;
      if (old.type !== now.type) continue;
      // Two ids that differ are two cells: an id is only ignored when one side lacks it.
      if (old.id !== undefined && now.id !== undefined) continue;
      const score = similarity(old.source, now.source);
      if (score > bestScore) {
        best = i;
        bestScore = score;
      }
      if (++looked >= 64) break;
    }
    if (best !== undefined) pair(best, j);
  }
  return pairs;
}

/** Indices into `values` of one longest increasing subsequence. */
function longestIncreasing(values: readonly number[]): Set<number> {
  const tails: number[] = [];
  const previous: number[] = [];
  values.forEach((value, i) => {
    let low = 0;
    let high = tails.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if ((values[tails[mid] as number] as number) < value) low = mid + 1;
      else high = mid;
    }
    previous[i] = low > 0 ? (tails[low - 1] as number) : -1;
    tails[low] = i;
  });
  const kept = new Set<number>();
  for (let i = tails.at(-1) ?? -1; i >= 0; i = previous[i] as number) kept.add(i);
  return kept;
}

/**
 * @param a Cells of the old notebook.
 * @param b Cells of the new notebook.
 * @returns Changes in the order of the new notebook, removed cells at the place where they stood. Empty when nothing a
 *   reader would see differs.
 */
export function diffCells(a: readonly Cell[], b: readonly Cell[]): CellChange[] {
  const pairs = matchCells(a, b).sort((x, y) => x[1] - y[1]);
  const inPlace = longestIncreasing(pairs.map(([i]) => i));
  const byNew = new Map(pairs.map(([i, j], k) => [j, { i, moved: !inPlace.has(k) }]));
  const matchedOld = new Set(pairs.map(([i]) => i));
  const out: CellChange[] = [];
  let nextOld = 0;
  const removedUpTo = (end: number): void => {
    for (; nextOld < end; nextOld++) {
      const old = a[nextOld];
      if (old !== undefined && !matchedOld.has(nextOld)) {
        out.push({ change: 'removed', oldIndex: nextOld, old, parts: [] });
      }
    }
  };
  b.forEach((cell, j) => {
    const match = byNew.get(j);
    if (match === undefined) {
      out.push({ change: 'added', newIndex: j, new: cell, parts: [] });
      return;
    }
    const old = a[match.i] as Cell;
    if (!match.moved) removedUpTo(match.i);
    const parts = (['type', 'source', 'outputs', 'executionCount', 'metadata'] as const).filter(
      part => old[part] !== cell[part]
    );
    if (match.moved || parts.length > 0) {
      out.push({ change: match.moved ? 'moved' : 'modified', oldIndex: match.i, newIndex: j, old, new: cell, parts });
    }
  });
  removedUpTo(a.length);
  return out;
}
