/** The tree as of a moment, in SQL over the tables of the index. */
import { KINDS } from './schema.ts';

/**
 * Rows of the tree as of a moment, with the columns of `change_rows`: the fold over the changes up to it (core/tree.ts).
 *
 * Mostly these are the first so many changes, and each row says what ended it. Where clocks disagree they are not (`disorder`); then
 * it is worked out.
 *
 * @param moment Expression: a TIMESTAMPTZ.
 * @param tables What stands before the name of a table: nothing, or `catalog.`.
 */
export function treeAt(moment: string, tables = ''): string {
  const disorder = `EXISTS (SELECT 1 FROM ${tables}disorder d WHERE d.low <= ${moment} AND d.high > ${moment})`;
  return `
    SELECT r.* FROM ${tables}change_rows r, (
      SELECT CASE WHEN ${disorder} THEN 0 ELSE coalesce(max(id), 0) END AS row FROM ${tables}change_rows WHERE moment <= ${moment}) upto
    WHERE r.id <= upto.row AND (r.ended IS NULL OR r.ended > upto.row)
    UNION ALL
    SELECT r.* FROM ${tables}change_rows r JOIN (${foldedAt(moment, disorder, tables)}) t ON t.id = r.id`;
}

/**
 * Numbers of the rows, worked out where there is disorder; else there are none. A path's state is its last event: set or deleted by a
 * change at it, or moved away. A move away does not count when what stood there came at the same moment from the same device.
 * Only paths that something moved away from need the longer way.
 */
function foldedAt(moment: string, disorder: string, tables: string): string {
  const deleted = KINDS.indexOf('deleted');
  const moved = KINDS.indexOf('moved');
  return `
    WITH seen AS (
      SELECT id, path, from_path, kind, moment, device FROM ${tables}change_rows, (SELECT 1 WHERE ${disorder}) WHERE moment <= ${moment}),
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
    SELECT id FROM plain WHERE kind <> ${deleted}
    UNION ALL
    SELECT id FROM ends WHERE sets`;
}
