/**
 * A result as an Arrow IPC stream (https://arrow.apache.org/docs/format/Columnar.html), one record batch for each of DuckDB's
 * chunks, column by column out of DuckDB's memory. No row ever becomes an object.
 *
 * Types without a counterpart in Arrow: HUGEINT is decimal128(38, 0), where one among the first rows has more digits
 * decimal256(39, 0); UHUGEINT is decimal256(39, 0); TIMETZ, BIT, UUID and BIGNUM are text.
 */
import type { DuckDBDataChunk, DuckDBType, DuckDBVector } from '@duckdb/node-api';
import type * as DuckdbApi from '@duckdb/node-api';
import * as arrow from 'apache-arrow';
import { SyftError } from '../../core/errors.ts';
import type { SqlRows } from './result-stream.ts';
import {
  gatherBytes,
  isValid,
  layoutChanged,
  memoryOf,
  viewOf,
  type Items,
  type Rows,
  type Validity
} from './vector-memory.ts';

type Api = typeof DuckdbApi;

/** How a column leaves: its Arrow type, and its data out of a vector. */
interface Column {
  readonly type: arrow.DataType;
  data(vector: DuckDBVector, count: number, rows: Rows): arrow.Data;
}

class Collected extends arrow.RecordBatchStreamWriter {
  #pieces: Uint8Array[] = [];

  protected override _write(chunk: Parameters<arrow.RecordBatchStreamWriter['_write']>[0]): this {
    if (!this._started) return this;
    const bytes = ArrayBuffer.isView(chunk)
      ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      : new Uint8Array();
    if (bytes.byteLength > 0) this.#pieces.push(bytes);
    this._position += bytes.byteLength;
    return this;
  }

  /** What was written since the last call. */
  take(): Uint8Array {
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return all;
  }
}

/** Encodes a result. */
export async function* encodeArrow(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>
): AsyncGenerator<Uint8Array> {
  let batches: Batches | undefined;
  for await (const chunk of chunks) {
    batches ??= new Batches(api, result, chunk);
    yield batches.add(chunk);
  }
  batches ??= new Batches(api, result, undefined);
  yield batches.finish();
}

/** The stream as it is written. */
class Batches {
  readonly #writer = new Collected();
  readonly #columns: readonly Column[];
  readonly #schema: arrow.Schema;
  readonly #type: arrow.Struct;

  /** @param first Rows that types are chosen by: where there is no type for all that DuckDB's has, for what is there. */
  constructor(api: Api, result: SqlRows, first: DuckDBDataChunk | undefined) {
    const dictionaries = { next: 0 };
    this.#columns = result.types.map((type, i) => {
      if (
        type.typeId === api.DuckDBTypeId.HUGEINT &&
        first !== undefined &&
        isLong(first.getColumnVector(i), first.rowCount, undefined)
      ) {
        return LONG_HUGEINT;
      }
      return columnOf(api, type, dictionaries);
    });
    this.#schema = new arrow.Schema(
      this.#columns.map(
        (column, i) => new arrow.Field(result.names[i] ?? '', column.type, true, saysJson(result.types[i]))
      )
    );
    this.#type = new arrow.Struct(this.#schema.fields);
    this.#writer.reset(undefined, this.#schema);
  }

  /** What is to be sent when these rows are added. */
  add(chunk: DuckDBDataChunk): Uint8Array {
    const length = chunk.rowCount;
    const children = this.#columns.map((column, i) => column.data(chunk.getColumnVector(i), length, undefined));
    const data = arrow.makeData({ type: this.#type, length, nullCount: 0, children });
    this.#writer.write(new arrow.RecordBatch(this.#schema, data));
    return this.#writer.take();
  }

  /** What is to be sent at the end. */
  finish(): Uint8Array {
    this.#writer.finish();
    return this.#writer.take();
  }
}

/** Texts that are JSON are texts in Arrow; who writes JSON of them may want to know. */
function saysJson(type: DuckDBType | undefined): Map<string, string> | undefined {
  return type?.alias === 'JSON' ? new Map([['syft-sync:type', 'JSON']]) : undefined;
}

interface Nulls {
  readonly nullCount: number;
  readonly nullBitmap: Uint8Array | undefined;
}

const NONE: Nulls = { nullCount: 0, nullBitmap: undefined };

function nullsOf(validity: Validity | undefined, count: number, rows: Rows): Nulls {
  const data = validity?.data ?? null;
  if (validity === undefined || data === null || count === 0) return NONE;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const bitmap = new Uint8Array((count + 7) >> 3);
  let valid = 0;
  for (let i = 0; i < count; i++) {
    const bit = validity.offset + (rows === undefined ? i : (rows[i] as number));
    if (((bytes[bit >> 3] as number) >> (bit & 7)) & 1) {
      bitmap[i >> 3] = (bitmap[i >> 3] as number) | (1 << (i & 7));
      valid += 1;
    }
  }
  return valid === count ? NONE : { nullCount: count - valid, nullBitmap: bitmap };
}

/** Makes the data of a type; the overloads of the library know each type, and not one that is only known as one of them. */
function make(type: arrow.DataType, count: number, nulls: Nulls, more: object): arrow.Data {
  const props = {
    type,
    length: count,
    nullCount: nulls.nullCount,
    ...(nulls.nullBitmap !== undefined && { nullBitmap: nulls.nullBitmap }),
    ...more
  };
  return arrow.makeData(props as never);
}

function itemsOf(vector: DuckDBVector, count: number, rows: Rows): Items {
  const { items } = memoryOf(vector);
  if (items === undefined) throw layoutChanged();
  // DuckDB's memory itself: what is written is copied out of it before its chunk goes.
  if (rows === undefined) return items.subarray(0, count);
  const Taken = items.constructor as new (length: number) => Items;
  const taken = new Taken(count);
  for (let i = 0; i < count; i++) taken[i] = items[rows[i] as number] as never;
  return taken;
}

/** Values that DuckDB holds as Arrow does. */
function plain(type: arrow.DataType): Column {
  return {
    type,
    data: (vector, count, rows) =>
      make(type, count, nullsOf(memoryOf(vector).validity, count, rows), { data: itemsOf(vector, count, rows) })
  };
}

/** Values of a fixed width that are written one by one. */
function fixed(
  type: arrow.DataType,
  width: number,
  write: (from: DataView, row: number, to: DataView, at: number) => void,
  array: (buffer: ArrayBuffer) => Items
): Column {
  return {
    type,
    data: (vector, count, rows) => {
      const from = viewOf(vector);
      const buffer = new ArrayBuffer(count * width);
      const to = new DataView(buffer);
      for (let i = 0; i < count; i++) write(from, rows === undefined ? i : (rows[i] as number), to, i * width);
      return make(type, count, nullsOf(memoryOf(vector).validity, count, rows), { data: array(buffer) });
    }
  };
}

const words32 = (buffer: ArrayBuffer): Items => new Uint32Array(buffer);

function decimal(precision: number, scale: number, stored: 2 | 4 | 8 | 16): Column {
  return fixed(
    new arrow.Decimal(scale, precision, 128),
    16,
    (from, row, to, at) => {
      const low =
        stored === 2
          ? BigInt(from.getInt16(row * 2, true))
          : stored === 4
            ? BigInt(from.getInt32(row * 4, true))
            : from.getBigInt64(row * stored, true);
      to.setBigInt64(at, low, true);
      to.setBigInt64(at + 8, stored === 16 ? from.getBigInt64(row * 16 + 8, true) : low >> 63n, true);
    },
    words32
  );
}

/** The upper half of what has 39 digits; the lower counts where it is equal. */
const LONG_UPPER = (10n ** 38n) >> 64n;
const LONG_LOWER = BigInt.asUintN(64, 10n ** 38n);

function hasManyDigits(from: DataView, row: number): boolean {
  const upper = from.getBigInt64(row * 16 + 8, true);
  // Most are far from it.
  if (upper < LONG_UPPER && upper >= -LONG_UPPER) return false;
  const value = (upper << 64n) | from.getBigUint64(row * 16, true);
  const size = value < 0n ? -value : value;
  return size >= ((LONG_UPPER << 64n) | LONG_LOWER);
}

/** Whether values of HUGEINT do not fit into the 38 digits of decimal128. */
function isLong(vector: DuckDBVector, count: number, rows: Rows): boolean {
  const from = viewOf(vector);
  const { validity = { data: null, offset: 0 } } = memoryOf(vector);
  for (let i = 0; i < count; i++) {
    const row = rows === undefined ? i : (rows[i] as number);
    if (isValid(validity, row) && hasManyDigits(from, row)) return true;
  }
  return false;
}

const SHORT_HUGEINT = fixed(
  new arrow.Decimal(0, 38, 128),
  16,
  (from, row, to, at) => {
    to.setBigInt64(at, from.getBigInt64(row * 16, true), true);
    to.setBigInt64(at + 8, from.getBigInt64(row * 16 + 8, true), true);
  },
  words32
);

const HUGEINT: Column = {
  type: SHORT_HUGEINT.type,
  data: (vector, count, rows) => {
    if (isLong(vector, count, rows)) {
      throw new SyftError(
        'SQL_INVALID',
        'A HUGEINT has 39 digits, and none among the first rows had: cast the column to VARCHAR, or let such a row come first.'
      );
    }
    return SHORT_HUGEINT.data(vector, count, rows);
  }
};

const LONG_HUGEINT = fixed(
  new arrow.Decimal(0, 39, 256),
  32,
  (from, row, to, at) => {
    const upper = from.getBigInt64(row * 16 + 8, true);
    to.setBigInt64(at, from.getBigInt64(row * 16, true), true);
    to.setBigInt64(at + 8, upper, true);
    to.setBigInt64(at + 16, upper >> 63n, true);
    to.setBigInt64(at + 24, upper >> 63n, true);
  },
  words32
);

const BOOLEAN: Column = {
  type: new arrow.Bool(),
  data: (vector, count, rows) => {
    const from = viewOf(vector);
    const bits = new Uint8Array((count + 7) >> 3);
    for (let i = 0; i < count; i++) {
      if (from.getUint8(rows === undefined ? i : (rows[i] as number)) === 0) continue;
      bits[i >> 3] = (bits[i >> 3] as number) | (1 << (i & 7));
    }
    return make(BOOLEAN.type, count, nullsOf(memoryOf(vector).validity, count, rows), { data: bits });
  }
};

const INTERVAL = fixed(
  new arrow.IntervalMonthDayNano(),
  16,
  (from, row, to, at) => {
    to.setInt32(at, from.getInt32(row * 16, true), true);
    to.setInt32(at + 4, from.getInt32(row * 16 + 4, true), true);
    to.setBigInt64(at + 8, from.getBigInt64(row * 16 + 8, true) * 1000n, true);
  },
  buffer => new Int32Array(buffer)
);

const UHUGEINT = fixed(
  new arrow.Decimal(0, 39, 256),
  32,
  (from, row, to, at) => {
    to.setBigUint64(at, from.getBigUint64(row * 16, true), true);
    to.setBigUint64(at + 8, from.getBigUint64(row * 16 + 8, true), true);
  },
  words32
);

/** Strings and bytes, put one behind the other: in the same place for each chunk, as what is written is copied out of it. */
function bytesColumn(type: arrow.DataType): Column {
  let place = Buffer.alloc(0);
  const room = (size: number): Buffer => {
    if (place.length < size) place = Buffer.allocUnsafeSlow(Math.ceil(size * 1.25));
    return place.subarray(0, size);
  };
  return {
    type,
    data: (vector, count, rows) => {
      const { offsets, data } = gatherBytes(vector, count, rows, room);
      return make(type, count, nullsOf(memoryOf(vector).validity, count, rows), { valueOffsets: offsets, data });
    }
  };
}

/** What Arrow has no type for, as DuckDB writes it. */
const AS_TEXT: Column = {
  type: new arrow.Utf8(),
  data: (vector, count, rows) => {
    const offsets = new Int32Array(count + 1);
    const pieces: Buffer[] = [];
    const bitmap = new Uint8Array((count + 7) >> 3);
    let nullCount = 0;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const value: unknown = vector.getItem(rows === undefined ? i : (rows[i] as number));
      if (value === null || value === undefined) nullCount += 1;
      else {
        bitmap[i >> 3] = (bitmap[i >> 3] as number) | (1 << (i & 7));
        const piece = Buffer.from(String(value), 'utf8');
        pieces.push(piece);
        total += piece.length;
      }
      offsets[i + 1] = total;
    }
    return make(AS_TEXT.type, count, nullCount === 0 ? NONE : { nullCount, nullBitmap: bitmap }, {
      valueOffsets: offsets,
      data: Buffer.concat(pieces)
    });
  }
};

function rowOf(rows: Rows, i: number): number {
  return rows === undefined ? i : (rows[i] as number);
}

/** The rows of the child that the rows of a list stand for, one after the other. */
function listRows(vector: DuckDBVector, count: number, rows: Rows): { offsets: Int32Array; child: Uint32Array } {
  const { entryData, validity = { data: null, offset: 0 } } = memoryOf(vector);
  if (entryData === undefined) throw layoutChanged();
  const offsets = new Int32Array(count + 1);
  for (let i = 0; i < count; i++) {
    const row = rowOf(rows, i);
    const length = isValid(validity, row) ? Number(entryData[row * 2 + 1]) : 0;
    offsets[i + 1] = (offsets[i] as number) + length;
  }
  const child = new Uint32Array(offsets[count] as number);
  for (let i = 0; i < count; i++) {
    const start = offsets[i] as number;
    const from = Number(entryData[rowOf(rows, i) * 2]);
    for (let k = start; k < (offsets[i + 1] as number); k++) child[k] = from + k - start;
  }
  return { offsets, child };
}

function listColumn(type: arrow.DataType, element: Column, list: (vector: DuckDBVector) => DuckDBVector): Column {
  return {
    type,
    data: (outer, count, rows) => {
      const vector = list(outer);
      const { childData, validity } = memoryOf(vector);
      if (childData === undefined) throw layoutChanged();
      const { offsets, child } = listRows(vector, count, rows);
      return make(type, count, nullsOf(validity, count, rows), {
        valueOffsets: offsets,
        child: element.data(childData, child.length, child)
      });
    }
  };
}

function arrayColumn(length: number, element: Column): Column {
  const type = new arrow.FixedSizeList(length, arrow.Field.new({ name: 'item', type: element.type, nullable: true }));
  return {
    type,
    data: (vector, count, rows) => {
      const { childData, validity } = memoryOf(vector);
      if (childData === undefined) throw layoutChanged();
      const child = new Uint32Array(count * length);
      for (let i = 0; i < child.length; i++) child[i] = rowOf(rows, Math.trunc(i / length)) * length + (i % length);
      return make(type, count, nullsOf(validity, count, rows), { child: element.data(childData, child.length, child) });
    }
  };
}

function structColumn(names: readonly string[], entries: readonly Column[]): Column {
  const type = new arrow.Struct(
    entries.map((entry, i) => arrow.Field.new({ name: names[i] ?? '', type: entry.type, nullable: true }))
  );
  return {
    type,
    data: (vector, count, rows) => {
      const { entryVectors, validity } = memoryOf(vector);
      if (entryVectors === undefined) throw layoutChanged();
      return make(type, count, nullsOf(validity, count, rows), {
        children: entries.map((entry, i) => entry.data(entryVectors[i] as DuckDBVector, count, rows))
      });
    }
  };
}

function mapColumn(key: Column, value: Column): Column {
  // A key of a map is never null, and Arrow insists that it is said.
  const type = new arrow.Struct([
    arrow.Field.new({ name: 'key', type: key.type, nullable: false }),
    arrow.Field.new({ name: 'value', type: value.type, nullable: true })
  ]);
  const entries = structColumn(['key', 'value'], [key, value]);
  return listColumn(
    new arrow.Map_(arrow.Field.new({ name: 'entries', type, nullable: false }) as never),
    { type, data: (vector, count, rows) => entries.data(vector, count, rows).clone(type) },
    vector => memoryOf(vector).listVector ?? vector
  );
}

function unionColumn(names: readonly string[], members: readonly Column[]): Column {
  const type = new arrow.SparseUnion(
    members.map((_, i) => i),
    members.map((member, i) => arrow.Field.new({ name: names[i] ?? '', type: member.type, nullable: true }))
  );
  return {
    type,
    data: (vector, count, rows) => {
      const { structVector } = memoryOf(vector);
      const { entryVectors } = structVector === undefined ? {} : memoryOf(structVector);
      const [tags, ...values] = entryVectors ?? [];
      if (tags === undefined) throw layoutChanged();
      const typeIds = new Int8Array(count);
      // What is no member at all is a null of the first.
      for (let i = 0; i < count; i++) typeIds[i] = Number(tags.getItem(rowOf(rows, i)) ?? 0);
      return make(type, count, NONE, {
        typeIds,
        children: members.map((member, i) => member.data(values[i] as DuckDBVector, count, rows))
      });
    }
  };
}

function enumColumn(values: readonly string[], dictionaries: { next: number }): Column {
  const wide = values.length > 0xffff ? 4 : values.length > 0xff ? 2 : 1;
  const Index = wide === 4 ? arrow.Int32 : wide === 2 ? arrow.Int32 : arrow.Int16;
  const type = new arrow.Dictionary(new arrow.Utf8(), new Index(), dictionaries.next++);
  const dictionary = arrow.vectorFromArray([...values], new arrow.Utf8());
  return {
    type,
    data: (vector, count, rows) => {
      const codes = itemsOf(vector, count, rows);
      const data = wide === 1 ? Int16Array.from(codes as Uint8Array) : Int32Array.from(codes as Uint16Array);
      return make(type, count, nullsOf(memoryOf(vector).validity, count, rows), { data, dictionary });
    }
  };
}

const NULLS: Column = {
  type: new arrow.Null(),
  data: (_, count) => arrow.makeData({ type: new arrow.Null(), length: count })
};

function columnOf(api: Api, type: DuckDBType, dictionaries: { next: number }): Column {
  const { DuckDBTypeId: id } = api;
  const of = (inner: DuckDBType): Column => columnOf(api, inner, dictionaries);
  switch (type.typeId) {
    case id.BOOLEAN:
      return BOOLEAN;
    case id.TINYINT:
      return plain(new arrow.Int8());
    case id.SMALLINT:
      return plain(new arrow.Int16());
    case id.INTEGER:
      return plain(new arrow.Int32());
    case id.BIGINT:
      return plain(new arrow.Int64());
    case id.UTINYINT:
      return plain(new arrow.Uint8());
    case id.USMALLINT:
      return plain(new arrow.Uint16());
    case id.UINTEGER:
      return plain(new arrow.Uint32());
    case id.UBIGINT:
      return plain(new arrow.Uint64());
    case id.FLOAT:
      return plain(new arrow.Float32());
    case id.DOUBLE:
      return plain(new arrow.Float64());
    case id.HUGEINT:
      return HUGEINT;
    case id.UHUGEINT:
      return UHUGEINT;
    case id.DECIMAL: {
      const { width, scale } = type;
      return decimal(width, scale, width <= 4 ? 2 : width <= 9 ? 4 : width <= 18 ? 8 : 16);
    }
    case id.DATE:
      return plain(new arrow.DateDay());
    case id.TIME:
      return plain(new arrow.TimeMicrosecond());
    case id.TIME_NS:
      return plain(new arrow.TimeNanosecond());
    case id.TIMESTAMP_S:
      return plain(new arrow.TimestampSecond());
    case id.TIMESTAMP_MS:
      return plain(new arrow.TimestampMillisecond());
    case id.TIMESTAMP:
      return plain(new arrow.TimestampMicrosecond());
    case id.TIMESTAMP_NS:
      return plain(new arrow.TimestampNanosecond());
    case id.TIMESTAMP_TZ:
      return plain(new arrow.TimestampMicrosecond('UTC'));
    case id.INTERVAL:
      return INTERVAL;
    case id.VARCHAR:
      return bytesColumn(new arrow.Utf8());
    case id.BLOB:
      return bytesColumn(new arrow.Binary());
    case id.ENUM:
      return enumColumn(type.values, dictionaries);
    case id.LIST: {
      const element = of(type.valueType);
      const list = new arrow.List(arrow.Field.new({ name: 'item', type: element.type, nullable: true }));
      return listColumn(list, element, vector => vector);
    }
    case id.ARRAY: {
      const { length, valueType } = type;
      return arrayColumn(length, of(valueType));
    }
    case id.STRUCT: {
      const { entryNames, entryTypes } = type;
      return structColumn(entryNames, entryTypes.map(of));
    }
    case id.MAP: {
      const { keyType, valueType } = type;
      return mapColumn(of(keyType), of(valueType));
    }
    case id.UNION: {
      const { memberTags, memberTypes } = type;
      return unionColumn(memberTags, memberTypes.map(of));
    }
    case id.SQLNULL:
      return NULLS;
    default:
      return AS_TEXT;
  }
}
