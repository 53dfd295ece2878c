/**
 * Values as JSON text. Whole numbers and decimals stand in full, whatever their length; times are ISO 8601, those with a zone in
 * UTC with `Z`; bytes are base64; intervals, bits and the like are text; what JSON has no number for (NaN, Infinity) is null.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBType, DuckDBValue } from '@duckdb/node-api';
import { isoMicros } from '../../core/change.ts';

type Api = typeof DuckdbApi;
/** Writes one value, never null. */
export type Writer = (value: DuckDBValue) => string;

const DAY = 86_400_000;
/** What `Date` can hold, in microseconds. */
const DATE_LIMIT = 8_640_000_000_000_000_000n;

function moment(micros: bigint, zone: string, written: { toString(): string }): string {
  // Beyond: infinity, and years that no ISO text has.
  if (micros > DATE_LIMIT || micros < -DATE_LIMIT) return JSON.stringify(String(written));
  const ms = micros / 1000n - (micros % 1000n < 0n ? 1n : 0n);
  return `"${isoMicros(Number(ms) * 1000).slice(0, -4)}${String(micros - ms * 1000n).padStart(3, '0')}${zone}"`;
}

const text: Writer = value => JSON.stringify(String(value));
const digits: Writer = value => String(value);
const double: Writer = value => (Number.isFinite(value) ? String(Object.is(value, -0) ? 0 : value) : 'null');

/** How values of a type are written. */
export function jsonWriter(api: Api, type: DuckDBType): Writer {
  const { DuckDBTypeId: id } = api;
  const orNull = (inner: DuckDBType): Writer => {
    const write = jsonWriter(api, inner);
    return value => (value === null ? 'null' : write(value));
  };
  switch (type.typeId) {
    case id.BOOLEAN:
    case id.TINYINT:
    case id.SMALLINT:
    case id.INTEGER:
    case id.BIGINT:
    case id.HUGEINT:
    case id.UTINYINT:
    case id.USMALLINT:
    case id.UINTEGER:
    case id.UBIGINT:
    case id.UHUGEINT:
    case id.BIGNUM:
    case id.DECIMAL:
      return digits;
    case id.FLOAT:
    case id.DOUBLE:
      return double;
    case id.VARCHAR:
      // A value of type JSON is JSON already.
      return type.alias === 'JSON' ? value => value as string : value => JSON.stringify(value);
    case id.DATE:
      return value => {
        const { days } = value as DuckdbApi.DuckDBDateValue;
        return Math.abs(days) > 100_000_000 ? text(value) : `"${new Date(days * DAY).toISOString().slice(0, -14)}"`;
      };
    case id.TIMESTAMP:
      return value => moment((value as DuckdbApi.DuckDBTimestampValue).micros, '', value as object);
    case id.TIMESTAMP_TZ:
      return value => moment((value as DuckdbApi.DuckDBTimestampTZValue).micros, 'Z', value as object);
    case id.TIMESTAMP_S:
    case id.TIMESTAMP_MS:
    case id.TIMESTAMP_NS:
      return value => JSON.stringify(String(value).replace(' ', 'T'));
    case id.BLOB:
      return value => `"${Buffer.from((value as DuckdbApi.DuckDBBlobValue).bytes).toString('base64')}"`;
    case id.LIST:
    case id.ARRAY: {
      const write = orNull((type as DuckdbApi.DuckDBListType).valueType);
      return value => `[${(value as DuckdbApi.DuckDBListValue).items.map(write).join(',')}]`;
    }
    case id.STRUCT: {
      const { entryNames, entryTypes } = type;
      const writers = entryTypes.map(orNull);
      return value => {
        const { entries } = value as DuckdbApi.DuckDBStructValue;
        return `{${entryNames.map((name, i) => `${JSON.stringify(name)}:${writers[i]?.(entries[name] ?? null) ?? 'null'}`).join(',')}}`;
      };
    }
    case id.MAP: {
      const { keyType, valueType } = type;
      const key = orNull(keyType);
      const write = orNull(valueType);
      return value =>
        `[${(value as DuckdbApi.DuckDBMapValue).entries.map(entry => `{"key":${key(entry.key)},"value":${write(entry.value)}}`).join(',')}]`;
    }
    case id.UNION: {
      const union = type;
      const writers = union.memberTypes.map(orNull);
      return value => {
        const { tag, value: inner } = value as DuckdbApi.DuckDBUnionValue;
        return writers[union.memberIndexForTag(tag)]?.(inner) ?? 'null';
      };
    }
    default:
      return text;
  }
}
