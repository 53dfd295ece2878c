/** An index of a small made-up log, in a file, for sessions to open. */
import * as api from '@duckdb/node-api';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Change } from '../../../../server/src/core/change.ts';
import { DATABASE_FILE } from '../../../../server/src/index/database.ts';
import { DuckdbHistory } from '../../../../server/src/index/duckdb-history.ts';
import { SqlSession, type Parameters } from '../../../../server/src/index/sql/session.ts';
import type { Statement } from '../../../../server/src/index/sql/statement.ts';
import { change, WORKSPACE } from '../sample-changes.ts';

export { api };

export const SAMPLE: readonly Change[] = [
  change(1, { path: 'data/a.csv' }),
  change(2, { path: 'data/b.csv' }),
  change(3, { path: 'data/a.csv', kind: 'modified' }),
  change(4, { path: 'data/c.csv', kind: 'moved', from: 'data/b.csv' }),
  change(5, { path: 'data/a.csv', kind: 'deleted' })
];

export interface SampleIndex {
  readonly dir: string;
  readonly file: string;
  open(more?: { memoryMb?: number; readable?: string[] }): Promise<SqlSession>;
  remove(): Promise<void>;
}

export async function sampleIndex(changes: readonly Change[] = SAMPLE): Promise<SampleIndex> {
  const dir = await mkdtemp(join(tmpdir(), 'syft-sql-'));
  const history = await DuckdbHistory.open(api, { dir, workspaceId: WORKSPACE, memory: 40, memoryMost: 1024 });
  await history.apply(changes);
  const file = join(dir, 'copy.duckdb');
  await history.copyTo(file);
  await history.close();
  await rm(join(dir, DATABASE_FILE));
  return {
    dir,
    file,
    open: ({ memoryMb = 256, ...more } = {}) =>
      SqlSession.open(api, file, { workspaceId: WORKSPACE, timeZone: 'UTC', memoryMb, ...more }),
    remove: () => rm(dir, { recursive: true, force: true })
  };
}

/** All rows of a query, or of a statement that was not read with the parser first. */
export async function rowsOf(
  session: SqlSession,
  query: string | Statement,
  options: { parameters?: Parameters; signal?: AbortSignal } = {}
): Promise<unknown[][]> {
  const statement = typeof query === 'string' ? await session.read(query) : query;
  return session.run(statement, options.parameters, options.signal ?? AbortSignal.timeout(20_000), async rows => {
    const out: unknown[][] = [];
    for await (const chunk of rows.chunks()) out.push(...chunk.getRows());
    return out;
  });
}
