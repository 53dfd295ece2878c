/**
 * One value of an Arrow column as text, read from its memory: no row and no cell becomes an object that stays.
 *
 * Text, not numbers, because that is all a grid shows: 64-bit integers, decimals and microseconds keep every digit.
 */
import { DataType, DateUnit, IntervalUnit } from 'apache-arrow';
import type { Data, Timestamp, TimeUnit } from 'apache-arrow';

/** Bytes of a binary value that are shown. */
const SHOWN_BYTES = 64;
/** Characters of a value that are shown in a cell. */
export const LONGEST_CELL = 4096;

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** A value as a cell shows it; null when there is none. Times with a zone are in the time zone of the browser. */
export function cellText(data: Data, index: number): string | null {
  if (!isValid(data, index)) return null;
  if (isNested(data.type)) return JSON.stringify(jsonOf(data, index));
  return scalarText(data, index);
}

/** A value as a number, for charts: milliseconds since the epoch for times. Undefined when it is none. */
export function cellNumber(data: Data, index: number): number | undefined {
  const { type } = data;
  if (!isValid(data, index)) return undefined;
  if (DataType.isTimestamp(type)) return Number(data.values[index]) / (perSecond(type.unit) / 1000);
  if (DataType.isDate(type)) return Number(data.values[index]) * (type.unit === DateUnit.DAY ? 86_400_000 : 1);
  if (DataType.isBool(type)) return scalarText(data, index) === 'true' ? 1 : 0;
  if (!isNumeric(type)) return undefined;
  const value = Number(scalarText(data, index));
  return Number.isFinite(value) ? value : undefined;
}

/** Whether values of a type are numbers, which stand at the right. */
export function isNumeric(type: DataType): boolean {
  return DataType.isInt(type) || DataType.isFloat(type) || DataType.isDecimal(type);
}

export function isTemporal(type: DataType): boolean {
  return DataType.isTimestamp(type) || DataType.isDate(type);
}

function isNested(type: DataType): boolean {
  return (
    DataType.isList(type) ||
    DataType.isLargeList(type) ||
    DataType.isFixedSizeList(type) ||
    DataType.isStruct(type) ||
    DataType.isMap(type) ||
    DataType.isUnion(type)
  );
}

/** Whether there is a value. */
export function isValid(data: Data, index: number): boolean {
  return !DataType.isNull(data.type) && data.getValid(index);
}

function jsonOf(data: Data, index: number): Json {
  if (!isValid(data, index)) return null;
  const { type, children } = data;
  const [child] = children;
  if (DataType.isFixedSizeList(type) && child !== undefined) {
    return listOf(child, index * type.listSize, (index + 1) * type.listSize);
  }
  if ((DataType.isList(type) || DataType.isLargeList(type)) && child !== undefined) {
    return listOf(child, Number(data.valueOffsets[index]), Number(data.valueOffsets[index + 1]));
  }
  if (DataType.isMap(type) && child !== undefined) {
    const [keys, values] = child.children;
    if (keys === undefined || values === undefined) return null;
    const object = Object.create(null) as Record<string, Json>;
    for (let i = Number(data.valueOffsets[index]); i < Number(data.valueOffsets[index + 1]); i++) {
      object[cellText(keys, i) ?? 'null'] = jsonOf(values, i);
    }
    return object;
  }
  if (DataType.isStruct(type)) {
    const object = Object.create(null) as Record<string, Json>;
    type.children.forEach((field, i) => {
      const member = children[i];
      if (member !== undefined) object[field.name] = jsonOf(member, index);
    });
    return object;
  }
  if (DataType.isUnion(type)) {
    const place = type.typeIdToChildIndex[data.typeIds[index] ?? 0] ?? 0;
    const member = children[place];
    if (member === undefined) return null;
    return jsonOf(member, DataType.isDenseUnion(type) ? (data.valueOffsets[index] ?? 0) : index);
  }
  const text = scalarText(data, index);
  if (DataType.isBool(type)) return text === 'true';
  if (isNumeric(type)) {
    const value = Number(text);
    // What a number of JSON cannot hold exactly stays the text that can.
    if (Number.isFinite(value) && (DataType.isFloat(type) || String(value) === text)) return value;
  }
  return text;
}

function listOf(child: Data, begin: number, end: number): Json {
  const list: Json[] = [];
  for (let i = begin; i < end; i++) list.push(jsonOf(child, i));
  return list;
}

const decoder = new TextDecoder();

/** A value that is there and has no values in it. */
export function scalarText(data: Data, index: number): string {
  const { type } = data;
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) return decoder.decode(bytesOf(data, index));
  if (DataType.isFloat(type)) return type.precision === 1 ? float32Text(data.values[index]) : floatText(data, index);
  if (DataType.isInt(type)) return String(data.values[index]);
  if (DataType.isTimestamp(type)) {
    return timestampText(BigInt(data.values[index]), perSecond(type.unit), hasZone(type));
  }
  if (DataType.isDate(type)) {
    const value = Number(data.values[index]);
    if (type.unit !== DateUnit.DAY) return dateText(Math.floor(value / (DAY * 1000)));
    return Math.abs(value) === INFINITE_DAYS ? infinity(value < 0) : dateText(value);
  }
  if (DataType.isTime(type)) return timeText(BigInt(data.values[index]), perSecond(type.unit));
  if (DataType.isDecimal(type)) {
    return decimalText(data.values.subarray(index * data.stride, (index + 1) * data.stride), type.scale);
  }
  if (DataType.isBool(type)) {
    const bit = data.offset + index;
    return ((data.values[bit >> 3] >> (bit & 7)) & 1) === 1 ? 'true' : 'false';
  }
  if (DataType.isDictionary(type)) return dictionaryText(data, index);
  if (DataType.isBinary(type) || DataType.isLargeBinary(type)) return binaryText(bytesOf(data, index));
  if (DataType.isFixedSizeBinary(type)) {
    return binaryText(data.values.subarray(index * type.byteWidth, (index + 1) * type.byteWidth));
  }
  if (DataType.isInterval(type)) return intervalText(data, index, type.unit);
  if (DataType.isDuration(type)) return timeText(BigInt(data.values[index]), perSecond(type.unit));
  return String(data.values?.[index] ?? '');
}

/** The bytes of a text or binary value, where they are. */
export function bytesOf(data: Data, index: number): Uint8Array {
  return data.values.subarray(Number(data.valueOffsets[index]), Number(data.valueOffsets[index + 1]));
}

function binaryText(bytes: Uint8Array): string {
  let text = '0x';
  for (const byte of bytes.subarray(0, SHOWN_BYTES)) text += byte.toString(16).padStart(2, '0');
  return bytes.length > SHOWN_BYTES ? `${text}… (${bytes.length} B)` : text;
}

function dictionaryText(data: Data, index: number): string {
  let at = Number(data.values[index]);
  for (const part of data.dictionary?.data ?? []) {
    if (at < part.length) return cellText(part, at) ?? 'null';
    at -= part.length;
  }
  return '';
}

function floatText(data: Data, index: number): string {
  return String(data.values[index]);
}

/** The shortest digits that give the same 32-bit number again. */
function float32Text(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}

function decimalText(words: Uint32Array, scale: number): string {
  let value = 0n;
  for (let i = words.length - 1; i >= 0; i--) value = (value << 32n) | BigInt(words[i] ?? 0);
  value = BigInt.asIntN(words.length * 32, value);
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0');
  const sign = value < 0n ? '-' : '';
  return scale <= 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Arrow has null where there is no zone, though its type says otherwise. */
export function hasZone({ timezone }: Timestamp): boolean {
  return ![undefined, null, ''].includes(timezone);
}

/** Units of a time in one second. */
export function perSecond(unit: TimeUnit): number {
  return 10 ** (unit * 3);
}

const pad = (value: number, length = 2): string => String(value).padStart(length, '0');

const DAY = 86_400;
/** How DuckDB writes infinity: the largest values of 32 and 64 bits. */
const INFINITE_DAYS = 2 ** 31 - 1;
const INFINITE_TIME = 2n ** 63n - 1n;

const infinity = (negative: boolean): string => (negative ? '-infinity' : 'infinity');

/**
 * Days since 1970 in the Gregorian calendar, as far as SQL goes: JavaScript's dates end in the year 275760.
 *
 * See https://howardhinnant.github.io/date_algorithms.html#civil_from_days
 */
function dateText(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${pad(year <= 0 ? 1 - year : year, 4)}-${pad(month)}-${pad(day)}${year <= 0 ? ' (BC)' : ''}`;
}

/** Fractions as far as they are not zero, in groups of three digits. */
function fraction(value: number, per: number): string {
  if (value === 0) return '';
  const digits = pad(value, Math.round(Math.log10(per)));
  return `.${digits.replace(/(000)+$/, '')}`;
}

/** A moment; `local` says whether it is shown as the clock here shows it, or as it is. */
export function timestampText(value: bigint, per: number, local: boolean): string {
  if (value === INFINITE_TIME || value === -INFINITE_TIME) return infinity(value < 0n);
  const unit = BigInt(per);
  const rest = ((value % unit) + unit) % unit;
  let seconds = Number((value - rest) / unit);
  if (local) {
    const offset = new Date(seconds * 1000).getTimezoneOffset();
    // Beyond JavaScript's dates there is no zone: it stays UTC.
    if (!Number.isNaN(offset)) seconds -= offset * 60;
  }
  const days = Math.floor(seconds / DAY);
  const time = seconds - days * DAY;
  const parts = [Math.floor(time / 3600), Math.floor(time / 60) % 60, time % 60];
  return `${dateText(days)} ${parts.map(part => pad(part)).join(':')}${fraction(Number(rest), per)}`;
}

function timeText(value: bigint, per: number): string {
  const sign = value < 0n ? '-' : '';
  const whole = value < 0n ? -value : value;
  const seconds = Number(whole / BigInt(per));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${sign}${parts.map(part => pad(part)).join(':')}${fraction(Number(whole % BigInt(per)), per)}`;
}

function intervalText(data: Data, index: number, unit: IntervalUnit): string {
  const values = data.values as Int32Array;
  let [months, days, nanoseconds] = [0, 0, 0n];
  if (unit === IntervalUnit.YEAR_MONTH) months = values[index] ?? 0;
  else if (unit === IntervalUnit.DAY_TIME) {
    days = values[2 * index] ?? 0;
    nanoseconds = BigInt(values[2 * index + 1] ?? 0) * 1_000_000n;
  } else {
    months = values[4 * index] ?? 0;
    days = values[4 * index + 1] ?? 0;
    nanoseconds = (BigInt(values[4 * index + 3] ?? 0) << 32n) | BigInt((values[4 * index + 2] ?? 0) >>> 0);
  }
  const years = Math.trunc(months / 12);
  const said = [
    [years, 'year'],
    [months % 12, 'month'],
    [days, 'day']
  ] as const;
  const words = said
    .filter(([count]) => count !== 0)
    .map(([count, word]) => `${count} ${word}${Math.abs(count) === 1 ? '' : 's'}`);
  if (nanoseconds !== 0n || words.length === 0) words.push(timeText(nanoseconds, 1e9));
  return words.join(' ');
}

/** What a column's type is called, in words of SQL. */
export function typeName(type: DataType): string {
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) return 'text';
  if (DataType.isTimestamp(type)) return hasZone(type) ? 'time, local' : 'time';
  if (DataType.isDate(type)) return 'date';
  if (DataType.isTime(type)) return 'time of day';
  if (DataType.isInt(type)) return type.isSigned ? `int${type.bitWidth}` : `uint${type.bitWidth}`;
  if (DataType.isFloat(type)) return ['half', 'float', 'double'][type.precision] ?? 'float';
  if (DataType.isDecimal(type)) return `decimal(${type.precision}, ${type.scale})`;
  if (DataType.isBool(type)) return 'boolean';
  if (DataType.isDictionary(type)) return 'enum';
  if (DataType.isBinary(type) || DataType.isLargeBinary(type) || DataType.isFixedSizeBinary(type)) return 'bytes';
  if (DataType.isInterval(type) || DataType.isDuration(type)) return 'interval';
  if (DataType.isStruct(type)) return 'struct';
  if (DataType.isMap(type)) return 'map';
  if (DataType.isUnion(type)) return 'union';
  if (isNested(type)) return 'list';
  return 'null';
}
