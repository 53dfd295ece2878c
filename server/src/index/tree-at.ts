/** The tree as of a moment, in SQL over the tables of the index. */
import { KINDS } from './schema.ts';

/**
 * Rows of the tree as of a moment. A path's state is its last event: set or deleted by a change at it, or moved away. A
 * move away does not count when what stood there came at the same moment from the same device (core/tree.ts).
 * Only paths that something moved away from need the longer way.
 *
 * @param moment Expression: microseconds since the epoch.
 * @param rows The table `change_rows`.
 */
export function treeAt(moment: string, rows: string): string {
  const deleted = KINDS.indexOf('deleted');
  const moved = KINDS.indexOf('moved');
  return `
    WITH seen AS (SELECT id, path, from_path, kind, epoch_us(moment) AS moment, device FROM ${rows} WHERE epoch_us(moment) <= ${moment}),
    sources AS (SELECT DISTINCT from_path AS path FROM seen WHERE kind = ${moved} AND from_path IS NOT NULL),
    plain AS (
      SELECT max(id) AS id, path, arg_max(kind, id) AS kind FROM seen WHERE path NOT IN (SELECT path FROM sources) GROUP BY path),
    events AS (
      SELECT path, id, 1 AS step, kind <> ${deleted} AS sets, FALSE AS away, moment, device FROM seen WHERE path IN (SELECT path FROM sources)
      UNION ALL
      SELECT from_path, id, 0, FALSE, TRUE, moment, device FROM seen WHERE kind = ${moved} AND from_path IS NOT NULL),
    judged AS (
      SELECT *, last_value(CASE WHEN sets THEN moment END IGNORE NULLS) OVER before AS source_moment,
        last_value(CASE WHEN sets THEN device END IGNORE NULLS) OVER before AS source_device
      FROM events
      WINDOW before AS (PARTITION BY path ORDER BY id, step ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
    ends AS (
      SELECT path, arg_max(id, (id, step)) AS id, arg_max(sets, (id, step)) AS sets FROM judged
      WHERE NOT (away AND source_moment IS NOT NULL AND source_moment = moment AND source_device = device) GROUP BY path)
    SELECT id, path FROM plain WHERE kind <> ${deleted}
    UNION ALL
    SELECT id, path FROM ends WHERE sets`;
}
