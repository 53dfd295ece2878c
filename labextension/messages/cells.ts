/** Two notebooks side by side, cell by cell, by their sources. Pure. */

export interface NotebookCell {
  id: string | undefined;
  /** `code`, `markdown`, `raw`, or whatever it says. */
  type: string;
  source: string;
  /** What its outputs are, to be compared only. */
  outputs: string;
}

export interface Notebook {
  cells: NotebookCell[];
  /** Name of the language of its code; undefined when it says none. */
  language: string | undefined;
}

/** A cell of one of them or of both. `same`: source and outputs; `outputs`: only these differ. */
export type CellPair =
  | { kind: 'same' | 'outputs' | 'changed'; mine: NotebookCell; theirs: NotebookCell }
  | { kind: 'removed'; mine: NotebookCell }
  | { kind: 'added'; theirs: NotebookCell };

/** Products of cells up to which the best alignment is looked for; beyond, cells in between count as removed and added. */
const LARGEST_TABLE = 4_000_000;

/** @returns undefined when the text is not a notebook of nbformat 4. */
export function readNotebook(text: string): Notebook | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(parsed) || !Array.isArray(parsed['cells'])) return undefined;
  const metadata = isRecord(parsed['metadata']) ? parsed['metadata'] : {};
  const info = isRecord(metadata['language_info']) ? metadata['language_info'] : {};
  const kernel = isRecord(metadata['kernelspec']) ? metadata['kernelspec'] : {};
  const language = [info['name'], kernel['language']].find(name => typeof name === 'string');
  return {
    language,
    cells: parsed['cells'].filter(isRecord).map(cell => ({
      id: typeof cell['id'] === 'string' ? cell['id'] : undefined,
      type: typeof cell['cell_type'] === 'string' ? cell['cell_type'] : 'raw',
      source: joined(cell['source']),
      outputs: Array.isArray(cell['outputs']) ? JSON.stringify(cell['outputs'].map(withoutCount)) : ''
    }))
  };
}

/** Cells of both, in an order that is that of both. */
export function pairCells(mine: readonly NotebookCell[], theirs: readonly NotebookCell[]): CellPair[] {
  let start = 0;
  let [mineEnd, theirsEnd] = [mine.length, theirs.length];
  const pairs: CellPair[] = [];
  const tail: CellPair[] = [];
  while (start < mineEnd && start < theirsEnd && isSame(mine[start], theirs[start])) {
    pairs.push(pairOf(mine[start] as NotebookCell, theirs[start] as NotebookCell));
    start++;
  }
  while (mineEnd > start && theirsEnd > start && isSame(mine[mineEnd - 1], theirs[theirsEnd - 1])) {
    tail.unshift(pairOf(mine[--mineEnd] as NotebookCell, theirs[--theirsEnd] as NotebookCell));
  }
  pairs.push(...between(mine.slice(start, mineEnd), theirs.slice(start, theirsEnd)), ...tail);
  return pairs;
}

/** The longest common subsequence; what lies between its members is removed, added, or, where it is alike, changed. */
function between(mine: readonly NotebookCell[], theirs: readonly NotebookCell[]): CellPair[] {
  const pairs: CellPair[] = [];
  if (mine.length * theirs.length > LARGEST_TABLE) return gap(mine, theirs);
  const width = theirs.length + 1;
  const lengths = new Uint32Array((mine.length + 1) * width);
  for (let i = mine.length - 1; i >= 0; i--) {
    for (let j = theirs.length - 1; j >= 0; j--) {
      lengths[i * width + j] = isSame(mine[i], theirs[j])
        ? (lengths[(i + 1) * width + j + 1] as number) + 1
        : Math.max(lengths[(i + 1) * width + j] as number, lengths[i * width + j + 1] as number);
    }
  }
  let [i, j, fromMine, fromTheirs] = [0, 0, 0, 0];
  while (i < mine.length && j < theirs.length) {
    if (isSame(mine[i], theirs[j])) {
      pairs.push(...gap(mine.slice(fromMine, i), theirs.slice(fromTheirs, j)));
      pairs.push(pairOf(mine[i++] as NotebookCell, theirs[j++] as NotebookCell));
      [fromMine, fromTheirs] = [i, j];
    } else if ((lengths[(i + 1) * width + j] as number) >= (lengths[i * width + j + 1] as number)) i++;
    else j++;
  }
  pairs.push(...gap(mine.slice(fromMine), theirs.slice(fromTheirs)));
  return pairs;
}

/** Cells between two that both have: in order, those of one type that share a line are one cell that was changed. */
function gap(mine: readonly NotebookCell[], theirs: readonly NotebookCell[]): CellPair[] {
  const pairs: CellPair[] = [];
  let next = 0;
  for (const cell of mine) {
    let match = -1;
    for (let index = next; index < Math.min(theirs.length, next + 20); index++) {
      if (isAlike(cell, theirs[index] as NotebookCell)) {
        match = index;
        break;
      }
    }
    if (match < 0) {
      pairs.push({ kind: 'removed', mine: cell });
      continue;
    }
    for (; next < match; next++) pairs.push({ kind: 'added', theirs: theirs[next] as NotebookCell });
    pairs.push(pairOf(cell, theirs[next++] as NotebookCell));
  }
  for (; next < theirs.length; next++) pairs.push({ kind: 'added', theirs: theirs[next] as NotebookCell });
  return pairs;
}

function pairOf(mine: NotebookCell, theirs: NotebookCell): CellPair {
  if (mine.source !== theirs.source || mine.type !== theirs.type) return { kind: 'changed', mine, theirs };
  return { kind: mine.outputs === theirs.outputs ? 'same' : 'outputs', mine, theirs };
}

/** The cell is the same one: by its id, or by what it says. */
function isSame(mine: NotebookCell | undefined, theirs: NotebookCell | undefined): boolean {
  if (mine === undefined || theirs === undefined) return false;
  if (mine.id !== undefined && mine.id === theirs.id) return true;
  return mine.type === theirs.type && mine.source === theirs.source;
}

function isAlike(mine: NotebookCell, theirs: NotebookCell): boolean {
  if (mine.type !== theirs.type) return false;
  const lines = new Set(linesOf(mine.source));
  const others = linesOf(theirs.source);
  return others.some(line => lines.has(line)) || (lines.size <= 1 && others.length <= 1);
}

function linesOf(source: string): string[] {
  return source
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '');
}

/** A multi-line text of nbformat: a string, or an array of lines. */
function joined(value: unknown): string {
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? value.filter(line => typeof line === 'string').join('') : '';
}

/** How often a cell ran says nothing of what came out of it. */
function withoutCount(output: unknown): unknown {
  if (!isRecord(output)) return output;
  const { execution_count: _count, ...rest } = output;
  return rest;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How many cells were added, removed, changed. */
export function countCells(pairs: readonly CellPair[]): Record<'added' | 'removed' | 'changed' | 'outputs', number> {
  const counts = { added: 0, removed: 0, changed: 0, outputs: 0 };
  for (const { kind } of pairs) if (kind !== 'same') counts[kind]++;
  return counts;
}
