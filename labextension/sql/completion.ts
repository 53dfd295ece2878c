/** What may stand where the cursor is: columns, tables, macros and words of SQL; paths inside of quotes. */
import type { Completion, CompletionContext, CompletionResult, CompletionSource } from '@codemirror/autocomplete';

import type { SqlSchema } from '../../server/src/api/contract';

const WORDS =
  'SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET WITH AS JOIN LEFT ON USING UNION ALL DISTINCT CASE WHEN THEN ELSE END AND OR NOT IN IS NULL LIKE ILIKE BETWEEN EXISTS INTERVAL DESC ASC VALUES DESCRIBE SUMMARIZE EXPLAIN QUALIFY'.split(
    ' '
  );
const FUNCTIONS =
  'count sum avg min max median arg_max arg_min coalesce now date_trunc time_bucket strftime age length lower upper contains starts_with regexp_matches regexp_extract string_agg list round format_bytes range unnest row_number lag lead'.split(
    ' '
  );

export interface CompletionOptions {
  /** Undefined until it is known. */
  schema(): SqlSchema | undefined;
  /** Paths of files that fit to what stands between the quotes. */
  paths(part: string): Promise<readonly string[]>;
}

/** Where a position is: in a comment, in a string that began at `from`, or in the statement itself. */
export function placeIn(text: string, at: number): { kind: 'sql' | 'comment' } | { kind: 'string'; from: number } {
  let i = 0;
  while (i < at) {
    const two = text.slice(i, i + 2);
    if (two === '--' || two === '/*') {
      const end = two === '--' ? text.indexOf('\n', i) : text.indexOf('*/', i + 2);
      if (end < 0 || end >= at) return { kind: 'comment' };
      i = end + (two === '--' ? 1 : 2);
      continue;
    }
    const sign = text[i];
    if (sign === "'" || sign === '"') {
      const from = i + 1;
      for (i = from; i < at; i++) {
        if (text[i] !== sign) continue;
        if (text[i + 1] !== sign) break;
        i++;
      }
      if (i >= at) return sign === "'" ? { kind: 'string', from } : { kind: 'sql' };
    }
    i++;
  }
  return { kind: 'sql' };
}

/** Tables and macros that a query names behind FROM and JOIN, by the name under which it speaks of them. */
export function namedRelations(text: string): ReadonlyMap<string, string> {
  const named = new Map<string, string>();
  const relation = /\b(?:from|join)\s+(\w+)(?:\s*\([^()]*\))?(?:\s+(?:as\s+)?(\w+))?/gi;
  for (const [, name = '', alias] of text.matchAll(relation)) {
    named.set(name.toLowerCase(), name.toLowerCase());
    if (alias !== undefined && !WORDS.includes(alias.toUpperCase())) named.set(alias.toLowerCase(), name.toLowerCase());
  }
  return named;
}

/** @returns a source for CodeMirror's autocompletion */
export function sqlCompletions(options: CompletionOptions): CompletionSource {
  return async (context: CompletionContext): Promise<CompletionResult | null> => {
    const text = context.state.doc.toString();
    const place = placeIn(text, context.pos);
    if (place.kind === 'comment') return null;
    if (place.kind === 'string') {
      const part = text.slice(place.from, context.pos);
      if (part === '' && !context.explicit) return null;
      const paths = await options.paths(part.replaceAll("''", "'"));
      if (paths.length === 0) return null;
      return {
        from: place.from,
        options: paths.map(path => ({ label: path, apply: path.replaceAll("'", "''"), type: 'text' })),
        filter: false
      };
    }
    const schema = options.schema();
    const relations = namedRelations(text);
    const columnsOf = (name: string): SqlSchema['tables'][number]['columns'] =>
      [...(schema?.tables ?? []), ...(schema?.macros ?? [])].find(it => it.name === name)?.columns ?? [];
    const column = ({ name, type, description }: SqlSchema['tables'][number]['columns'][number]): Completion => ({
      label: name,
      type: 'property',
      detail: type.toLowerCase().replace('timestamp with time zone', 'time'),
      info: description.replaceAll('`', ''),
      boost: 20
    });

    const member = context.matchBefore(/\w+\.\w*/);
    if (member !== null) {
      const [owner = ''] = member.text.split('.');
      const of = relations.get(owner.toLowerCase());
      if (of === undefined) return null;
      return { from: member.from + owner.length + 1, options: columnsOf(of).map(column), validFor: /^\w*$/ };
    }
    const word = context.matchBefore(/\w+/);
    if (word === null && !context.explicit) return null;
    const columns = new Map<string, Completion>();
    for (const name of new Set(relations.values())) {
      for (const it of columnsOf(name)) columns.set(it.name, column(it));
    }
    return {
      from: word?.from ?? context.pos,
      validFor: /^\w*$/,
      options: [
        ...columns.values(),
        ...(schema?.tables ?? []).map(({ name, description }) => ({
          label: name,
          type: 'class',
          info: description.replaceAll('`', ''),
          boost: 10
        })),
        ...(schema?.macros ?? []).map(({ name, signature, description }) => ({
          label: name,
          detail: signature.slice(name.length),
          apply: `${name}(`,
          type: 'function',
          info: description.replaceAll('`', ''),
          boost: 9
        })),
        ...WORDS.map(label => ({ label, type: 'keyword' })),
        ...FUNCTIONS.map(name => ({ label: name, apply: `${name}(`, type: 'function', boost: -1 }))
      ]
    };
  };
}
