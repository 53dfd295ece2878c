/** A result as it comes: record batches one after the other, addressed by row. */
import { RecordBatchReader } from 'apache-arrow';
import type { Data, RecordBatch, Schema } from 'apache-arrow';

import { cellNumber, cellText, isNumeric, isTemporal, typeName } from './cell-text';

export interface Column {
  readonly name: string;
  /** In words of SQL. */
  readonly type: string;
  readonly numeric: boolean;
  readonly temporal: boolean;
}

/** Rows by number; every cell is read from the memory of its batch when it is asked for. */
export class ArrowTable {
  constructor(readonly schema: Schema) {
    this.columns = schema.fields.map(({ name, type }) => ({
      name,
      type: typeName(type),
      numeric: isNumeric(type),
      temporal: isTemporal(type)
    }));
  }

  readonly columns: readonly Column[];

  /** As they came. */
  get batches(): readonly RecordBatch[] {
    return this._records;
  }

  get rowCount(): number {
    return this._rowCount;
  }

  append(batch: RecordBatch): void {
    if (batch.numRows === 0) return;
    this._starts.push(this._rowCount);
    this._records.push(batch);
    this._batches.push(batch.data.children);
    this._rowCount += batch.numRows;
  }

  /** Null when there is no value. */
  text(row: number, column: number): string | null {
    const data = this._locate(row, column);
    return data === undefined ? null : cellText(data, row - this._start);
  }

  /** Milliseconds since the epoch for times; undefined for what is no number. */
  number(row: number, column: number): number | undefined {
    const data = this._locate(row, column);
    return data === undefined ? undefined : cellNumber(data, row - this._start);
  }

  /** The column's memory in the batch of the row, whose first row is then `_start`. */
  private _locate(row: number, column: number): Data | undefined {
    if (row < 0 || row >= this._rowCount) return undefined;
    let at = this._at;
    // Cells are asked for in rows one after the other: mostly it is the batch of the last one.
    if (row < this._start || row >= (this._starts[at + 1] ?? this._rowCount)) {
      let [low, high] = [0, this._starts.length - 1];
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((this._starts[middle] ?? 0) <= row) low = middle;
        else high = middle - 1;
      }
      at = this._at = low;
      this._start = this._starts[low] ?? 0;
    }
    return this._batches[at]?.[column];
  }

  private readonly _records: RecordBatch[] = [];
  private readonly _batches: (readonly Data[])[] = [];
  /** Number of each batch's first row. */
  private readonly _starts: number[] = [];
  private _rowCount = 0;
  private _at = 0;
  private _start = 0;
}

/** Milliseconds after which the page gets its turn, so that it scrolls and answers while rows come. */
const TURN = 12;

export interface ReadOptions {
  /** The columns are known. */
  onSchema(table: ArrowTable): void;
  /** Rows were appended. */
  onRows(): void;
  /** Bytes after which no more is read: a result is in memory as a whole. */
  largest: number;
}

/**
 * Reads an Arrow IPC stream to its end.
 *
 * @returns whether it was read to its end; false when there was more than `largest`
 * @throws what the stream throws, or a sentence for a stream that is none of Arrow
 */
export async function readTable(stream: ReadableStream<Uint8Array>, options: ReadOptions): Promise<boolean> {
  let taken = 0;
  let full = false;
  let failure: Error | undefined;
  const reader = stream.getReader();
  async function* chunks(): AsyncGenerator<Uint8Array> {
    // Whatever stops the reader of Arrow, the request ends; and an error of the stream is not lost in it.
    try {
      while (true) {
        const { done, value } = await reader.read();
        if (done) return;
        taken += value.byteLength;
        // Arrow's reader waits for the next piece where what it wants ends with this one: the last byte is that piece.
        if (value.byteLength > 1) yield value.subarray(0, -1);
        yield value.subarray(-1);
        if (taken > options.largest) {
          full = true;
          return;
        }
      }
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
  }
  try {
    const batches = await RecordBatchReader.from(chunks());
    await batches.open();
    if (failure !== undefined) throw failure;
    const table = new ArrowTable(batches.schema);
    options.onSchema(table);
    let turn = performance.now();
    for await (const batch of batches) {
      table.append(batch);
      options.onRows();
      if (performance.now() - turn > TURN) {
        await new Promise(done => setTimeout(done));
        turn = performance.now();
      }
    }
  } catch (error) {
    // A message that is cut is no error where it was cut on purpose.
    if (!full) throw failure ?? (error instanceof Error ? error : new Error(String(error)));
  } finally {
    reader.cancel().catch(() => undefined);
  }
  if (failure !== undefined) throw failure;
  return !full;
}
