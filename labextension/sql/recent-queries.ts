/** Queries that were run, newest first. */

/** Queries that are remembered. */
const KEPT = 50;
/** Characters; a longer one is not remembered. */
const LONGEST = 20_000;

/** The list with a query at its front: once, however often it was run. */
export function remembered(queries: readonly string[], query: string): readonly string[] {
  const text = query.trim();
  if (text === '' || text.length > LONGEST) return queries;
  return [text, ...queries.filter(other => other !== text)].slice(0, KEPT);
}

/** What was stored, as far as it is what was stored: it may be of another version, or edited. */
export function recentOf(stored: unknown): readonly string[] {
  if (!Array.isArray(stored)) return [];
  return stored.filter((query): query is string => typeof query === 'string' && query.trim() !== '').slice(0, KEPT);
}

/** A query in one line, for menus. */
export function oneLine(query: string, length = 60): string {
  const line = query
    .replace(/--[^\n]*/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
