/** The rows that are shown, as a file: from memory, a piece at a time, so that the page goes on and much memory is not taken twice. */
import { RecordBatchStreamWriter } from 'apache-arrow';

import type { ArrowTable } from './arrow-table';
import { jsonWriter, plainWriter } from './json-text';

/** Formats that need nobody else. */
export type HeldFormat = 'csv' | 'json' | 'arrow';

const TYPES: Readonly<Record<HeldFormat, string>> = {
  csv: 'text/csv',
  json: 'application/json',
  arrow: 'application/vnd.apache.arrow.stream'
};
/** Milliseconds after which the page gets its turn. */
const TURN = 12;
/** Characters, or bytes, that are handed to the browser at a time, which keeps them where it likes. */
const PIECE = 1 << 20;

export interface ExportOptions {
  readonly signal: AbortSignal;
  /** Rows that are written so far. */
  progress(rows: number): void;
}

/**
 * All rows of a table as a file.
 *
 * @throws what the signal was aborted with
 */
export async function exportHeld(table: ArrowTable, format: HeldFormat, options: ExportOptions): Promise<Blob> {
  const parts: Blob[] = [];
  let piece: BlobPart[] = [];
  let length = 0;
  const hand = (): void => {
    if (length > 0) parts.push(new Blob(piece));
    piece = [];
    length = 0;
  };
  let turn = performance.now();
  for (const { part, size, rows } of format === 'arrow' ? arrowPieces(table) : textPieces(table, format)) {
    options.signal.throwIfAborted();
    piece.push(part);
    length += size;
    if (length > PIECE) hand();
    if (performance.now() - turn > TURN) {
      options.progress(rows);
      await new Promise(done => setTimeout(done));
      turn = performance.now();
    }
  }
  options.signal.throwIfAborted();
  hand();
  return new Blob(parts, { type: TYPES[format] });
}

interface Piece {
  readonly part: BlobPart;
  readonly size: number;
  /** Rows up to its end. */
  readonly rows: number;
}

/** Rows that are written before the clock is looked at. */
const ROWS = 256;

function* textPieces(table: ArrowTable, format: 'csv' | 'json'): Generator<Piece> {
  const { fields } = table.schema;
  const isCsv = format === 'csv';
  const write = isCsv ? csvRow(table) : jsonRow(table);
  let rows = 0;
  let text = isCsv ? `${fields.map(({ name }) => field(name)).join(',')}\n` : '[';
  for (const batch of table.batches) {
    for (let row = 0; row < batch.numRows; row++) {
      text += `${isCsv || rows === 0 ? '' : ',\n'}${write(batch.data.children, row)}`;
      rows += 1;
      if (rows % ROWS === 0) {
        yield { part: text, size: text.length, rows };
        text = '';
      }
    }
  }
  text += isCsv ? '' : ']\n';
  yield { part: text, size: text.length, rows };
}

type Row = (columns: ArrowTable['batches'][number]['data']['children'], row: number) => string;

function jsonRow(table: ArrowTable): Row {
  const writers = table.schema.fields.map(each => ({ name: JSON.stringify(each.name), write: jsonWriter(each) }));
  return (columns, row) => {
    const members = writers.map(({ name, write }, i) => {
      const data = columns[i];
      return `${name}:${data === undefined ? 'null' : write(data, row)}`;
    });
    return `{${members.join(',')}}`;
  };
}

/** RFC 4180 with `\n`; null is nothing, an empty text is `""`. */
function csvRow(table: ArrowTable): Row {
  const writers = table.schema.fields.map(plainWriter);
  return (columns, row) => {
    const values = writers.map((write, i) => {
      const data = columns[i];
      const text = data === undefined ? undefined : write(data, row);
      return text === undefined ? '' : field(text);
    });
    return `${values.join(',')}\n`;
  };
}

function field(text: string): string {
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Keeps what was written until it is taken. */
class Collected extends RecordBatchStreamWriter {
  private _pieces: Uint8Array<ArrayBuffer>[] = [];

  protected override _write(chunk: Parameters<RecordBatchStreamWriter['_write']>[0]): this {
    if (!this._started || !ArrayBuffer.isView(chunk) || chunk.byteLength === 0) return this;
    const { buffer, byteOffset, byteLength } = chunk;
    this._pieces.push(new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength));
    this._position += byteLength;
    return this;
  }

  take(): { part: Blob; size: number } {
    const part = new Blob(this._pieces);
    this._pieces = [];
    return { part, size: part.size };
  }
}

function* arrowPieces(table: ArrowTable): Generator<Piece> {
  const writer = new Collected();
  writer.reset(undefined, table.schema);
  let rows = 0;
  for (const batch of table.batches) {
    writer.write(batch);
    rows += batch.numRows;
    yield { ...writer.take(), rows };
  }
  writer.finish();
  yield { ...writer.take(), rows };
}
