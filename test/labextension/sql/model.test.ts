/** @jest-environment node */
/** A run from the request to its end, over a real connection: what a user is told must be what happened. */
import type { IncomingMessage, ServerResponse } from 'node:http';

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import * as arrow from 'apache-arrow';

import { ClientError } from '../../../labextension/client/errors';
import { SqlModel } from '../../../labextension/sql/model';
import type { SqlOutcome, SqlRequest } from '../../../server/src/api/contract';
import { HttpServer, json, when } from '../http-server';

/** An Arrow stream of batches with the numbers from 0. */
function numbers(batches: number, rows: number): Uint8Array {
  const part = (from: number): arrow.RecordBatch =>
    arrow.tableFromArrays({ n: Int32Array.from({ length: rows }, (_, i) => from + i) }).batches[0] as arrow.RecordBatch;
  return arrow.RecordBatchStreamWriter.writeAll(Array.from({ length: batches }, (_, i) => part(i * rows))).toUint8Array(
    true
  );
}

async function bodyOf(request: IncomingMessage): Promise<SqlRequest> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return JSON.parse(text) as SqlRequest;
}

let server: HttpServer;
let asked: SqlRequest[];
let accepts: (string | undefined)[];
let outcome: Partial<SqlOutcome>;
/** What POST /api/sql answers. */
let rows: (response: ServerResponse, request: IncomingMessage) => void;

beforeEach(async () => {
  asked = [];
  accepts = [];
  outcome = {};
  server = await HttpServer.start((request, response, url) => {
    if (url.pathname.endsWith('/api/sql')) {
      accepts.push(request.headers.accept);
      void bodyOf(request).then(body => {
        asked.push(body);
        rows(response, request);
      });
    } else {
      const queryId = url.pathname.split('/').at(-1);
      json(response, { queryId, state: 'done', rows: 0, truncated: false, elapsedMs: 5, ...outcome });
    }
  });
});
afterEach(() => server.stop());

function stream(response: ServerResponse): ServerResponse {
  return response.writeHead(200, { 'Content-Type': 'application/vnd.apache.arrow.stream' });
}

test('rows come as they are sent, over every border of the pieces', async () => {
  const bytes = numbers(20, 100);
  const send = async (response: ServerResponse): Promise<void> => {
    for (let at = 0; at < bytes.length; at += 997) {
      response.write(bytes.subarray(at, at + 997));
      await new Promise(done => setImmediate(done));
    }
    response.end();
  };
  rows = response => void send(stream(response));
  outcome = { rows: 2000 };
  const model = new SqlModel({ client: server.client, query: 'FROM range(2000)', maxRows: 5000 });
  let arrivals = 0;
  model.rowsArrived.connect(() => arrivals++);
  await model.run();
  expect(model.state).toMatchObject({ kind: 'done', cut: undefined });
  expect(arrivals).toBe(20);
  expect(model.table?.columns).toEqual([{ name: 'n', type: 'int32', numeric: true, temporal: false }]);
  expect(model.table?.rowCount).toBe(2000);
  for (const row of [0, 99, 100, 1999, 500, 0]) expect(model.table?.text(row, 0)).toBe(String(row));
  expect(model.table?.text(2000, 0)).toBeNull();
  expect(accepts).toEqual(['application/vnd.apache.arrow.stream']);
  expect(asked[0]).toMatchObject({ query: 'FROM range(2000)', maxRows: 5000, format: 'arrow' });
});

test('an error says where it is', async () => {
  const position = { offset: 7, line: 1, column: 8 };
  rows = response => json(response, { error: { code: 'SQL_INVALID', message: 'no such column', position } }, 400);
  const model = new SqlModel({ client: server.client, query: 'SELECT nope FROM files' });
  await model.run();
  const { state } = model;
  if (state.kind !== 'failed') throw new Error(`it is ${state.kind}`);
  expect(state.error).toBeInstanceOf(ClientError);
  expect(state.error).toMatchObject({ code: 'SQL_INVALID', position });
});

test('a result that breaks off is not taken for all of it', async () => {
  const bytes = numbers(3, 100);
  rows = response => stream(response).end(bytes);
  outcome = { state: 'failed', rows: 300, error: { code: 'SQL_TIMEOUT', message: 'It took longer than 10 s.' } };
  const model = new SqlModel({ client: server.client, query: 'FROM changes' });
  await model.run();
  expect(model.state).toMatchObject({ kind: 'failed', error: { code: 'SQL_TIMEOUT' } });
  expect(model.table?.rowCount).toBe(300);

  // A proxy on the way may end what was cut as if it were whole.
  outcome = { state: 'done', rows: 400 };
  await model.run();
  expect(model.state).toMatchObject({ kind: 'failed', error: { code: 'ENDED' } });

  rows = response => {
    stream(response).write(bytes.subarray(0, 700));
    setTimeout(() => response.destroy(), 50);
  };
  outcome = { state: 'failed', rows: 300, error: { code: 'SQL_MEMORY', message: 'Too much memory.' } };
  await model.run();
  expect(model.state).toMatchObject({ kind: 'failed', error: { code: 'SQL_MEMORY' } });
});

test('the limit of rows and that of memory are said', async () => {
  rows = response => stream(response).end(numbers(1, 100));
  outcome = { rows: 100, truncated: true };
  const model = new SqlModel({ client: server.client, query: 'FROM changes', largest: 100_000 });
  await model.run();
  expect(model.state).toMatchObject({ kind: 'done', cut: 'rows' });

  let ended = false;
  rows = (response, request) => {
    response.on('close', () => (ended = true));
    stream(response).write(numbers(200, 1000));
    request.resume();
  };
  await model.run();
  expect(model.state).toMatchObject({ kind: 'done', cut: 'memory' });
  expect(model.table?.rowCount).toBeGreaterThan(10_000);
  while (!ended) await new Promise(done => setTimeout(done, 5));
});

test('stopping ends the request and keeps the rows that came', async () => {
  const bytes = numbers(2, 100);
  let closed = false;
  rows = response => {
    response.on('close', () => (closed = true));
    // Without its end, as of a query that is still at it.
    stream(response).write(bytes.subarray(0, bytes.length - 8));
  };
  const model = new SqlModel({ client: server.client, query: 'FROM changes' });
  const run = model.run();
  await when(model.rowsArrived, () => model.table?.rowCount === 200);
  model.cancel();
  await run;
  expect(model.state.kind).toBe('cancelled');
  expect(model.table?.rowCount).toBe(200);
  while (!closed) await new Promise(done => setTimeout(done, 5));
});

test('a second run takes the place of the first, whatever of it still comes', async () => {
  let first: ServerResponse | undefined;
  rows = response => {
    if (first === undefined) first = stream(response);
    else stream(response).end(numbers(1, 3));
    if (asked.length === 1) response.flushHeaders();
  };
  outcome = { rows: 3 };
  const model = new SqlModel({ client: server.client, query: 'SELECT 1' });
  const before = model.run();
  while (first === undefined) await new Promise(done => setTimeout(done, 5));
  model.query = 'SELECT 2';
  await Promise.all([model.run(), before]);
  expect(model.ran).toBe('SELECT 2');
  expect(model.state.kind).toBe('done');
  expect(model.table?.rowCount).toBe(3);
});

const quietly = { signal: new AbortController().signal, progress: (): void => undefined };

test('a file has the rows that are shown, whatever has come into the log since, and whatever is being typed', async () => {
  rows = response => stream(response).end(numbers(3, 1000));
  outcome = { rows: 3000, truncated: true };
  const model = new SqlModel({ client: server.client, query: 'SELECT 1', maxRows: 3000 });
  await model.run();
  model.query = 'SELECT 1 and more';
  rows = response => response.writeHead(500).end();
  const csv = await model.export('csv', quietly);
  expect(csv.rows).toBe(3000);
  const lines = (await csv.file.text()).split('\n');
  expect([lines.length, lines[0], lines[1], lines[3000], lines[3001]]).toEqual([3002, 'n', '0', '2999', '']);
  const json = JSON.parse(await (await model.export('json', quietly)).file.text()) as { n: number }[];
  expect(json.map(({ n }) => n)).toEqual(Array.from({ length: 3000 }, (_, i) => i));
  const arrowFile = await (await model.export('arrow', quietly)).file.arrayBuffer();
  expect(arrow.tableFromIPC(new Uint8Array(arrowFile)).toArray()).toHaveLength(3000);
  expect(asked).toHaveLength(1);
});

test('what had come before the query was stopped is what is exported', async () => {
  const bytes = numbers(2, 100);
  rows = response => stream(response).write(bytes.subarray(0, bytes.length - 8));
  const model = new SqlModel({ client: server.client, query: 'FROM changes' });
  const run = model.run();
  await when(model.rowsArrived, () => model.table?.rowCount === 200);
  model.cancel();
  await run;
  expect(await model.export('csv', quietly)).toMatchObject({ rows: 200 });
});

test('Parquet, and what did not fit into memory, is asked for again, of what was run', async () => {
  rows = response => stream(response).end(numbers(200, 1000));
  const model = new SqlModel({ client: server.client, query: 'SELECT 1', maxRows: 1000, largest: 100_000 });
  await model.run();
  expect(model.state).toMatchObject({ kind: 'done', cut: 'memory' });
  model.query = 'SELECT 1 and more';
  model.maxRows = 100_000;
  rows = response => response.writeHead(200, { 'Content-Type': 'text/csv' }).end('n\n0\n');
  outcome = { rows: 1 };
  const said: unknown[] = [];
  const { file, rows: count } = await model.export('csv', { ...quietly, progress: done => said.push(done) });
  expect([await file.text(), count, said]).toEqual(['n\n0\n', 1, [{ bytes: 4 }]]);
  expect(accepts.at(-1)).toBe('text/csv');
  expect(asked.at(-1)).toMatchObject({ query: 'SELECT 1', format: 'csv', maxRows: 1000 });

  // Half of a file that looks whole is no file.
  outcome = { state: 'failed', rows: 1, error: { code: 'SQL_MEMORY', message: 'Too much memory.' } };
  await expect(model.export('parquet', quietly)).rejects.toMatchObject({ code: 'SQL_MEMORY' });
});

test('an export that is cancelled ends, here and where it runs again', async () => {
  rows = response => stream(response).end(numbers(500, 1000));
  outcome = { rows: 500_000 };
  const model = new SqlModel({ client: server.client, query: 'SELECT 1' });
  await model.run();
  const abort = new AbortController();
  let last = 0;
  const held = model.export('json', {
    signal: abort.signal,
    progress: done => {
      if ('rows' in done) last = done.rows;
      abort.abort();
    }
  });
  await expect(held).rejects.toMatchObject({ name: 'AbortError' });
  expect(last).toBeGreaterThan(0);
  expect(last).toBeLessThan(500_000);

  let closed = false;
  rows = response => {
    response.on('close', () => (closed = true));
    response.writeHead(200, { 'Content-Type': 'application/vnd.apache.parquet' }).write('PAR1');
  };
  const again = new AbortController();
  const asking = model.export('parquet', { signal: again.signal, progress: () => again.abort() });
  await expect(asking).rejects.toMatchObject({ name: 'AbortError' });
  while (!closed) await new Promise(done => setTimeout(done, 5));
});
