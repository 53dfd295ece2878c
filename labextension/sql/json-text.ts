/**
 * One value of an Arrow column as JSON, as the sidecar writes it: whole numbers and decimals in full, whatever their length;
 * times in ISO 8601, those with a zone in UTC with `Z`; bytes in base64; what JSON has no number for (NaN, Infinity) is null.
 */
import { DataType, TimeUnit } from 'apache-arrow';
import type { Data, Field } from 'apache-arrow';

import { bytesOf, hasZone, isValid, perSecond, scalarText, timestampText } from './cell-text';

/** Key of what the sidecar says of a column of texts that are JSON, and its value. */
const SAYS_TYPE = 'syft-sync:type';
const JSON_TYPE = 'JSON';

/** Writes one value of a column. */
export type Writer = (data: Data, index: number) => string;

/** How values of a column are written as JSON. */
export function jsonWriter(field: Field): Writer {
  if (field.metadata.get(SAYS_TYPE) !== JSON_TYPE) return jsonText;
  return (data, index) => (isValid(data, index) ? scalarText(data, index) : 'null');
}

/** As JSON, without the quotes around a text; undefined where there is no value. */
export function plainWriter(field: Field): (data: Data, index: number) => string | undefined {
  const write = jsonWriter(field);
  return (data, index) => {
    if (!isValid(data, index)) return undefined;
    const { type } = data;
    if (DataType.isUtf8(type) || DataType.isLargeUtf8(type) || DataType.isDictionary(type)) {
      return scalarText(data, index);
    }
    const text = write(data, index);
    return text.startsWith('"') ? String(JSON.parse(text)) : text;
  };
}

function jsonText(data: Data, index: number): string {
  if (!isValid(data, index)) return 'null';
  const { type, children } = data;
  const [child] = children;
  if (DataType.isInt(type) || DataType.isDecimal(type) || DataType.isBool(type)) return scalarText(data, index);
  if (DataType.isFloat(type)) {
    const value = Number(data.values[index]);
    return Number.isFinite(value) ? String(value) : 'null';
  }
  if (DataType.isFixedSizeList(type) && child !== undefined) {
    return list(child, index * type.listSize, (index + 1) * type.listSize);
  }
  if ((DataType.isList(type) || DataType.isLargeList(type)) && child !== undefined) {
    return list(child, Number(data.valueOffsets[index]), Number(data.valueOffsets[index + 1]));
  }
  if (DataType.isMap(type) && child !== undefined) {
    const [keys, values] = child.children;
    const entries: string[] = [];
    for (let i = Number(data.valueOffsets[index]); i < Number(data.valueOffsets[index + 1]); i++) {
      if (keys !== undefined && values !== undefined) {
        entries.push(`{"key":${jsonText(keys, i)},"value":${jsonText(values, i)}}`);
      }
    }
    return `[${entries.join(',')}]`;
  }
  if (DataType.isStruct(type)) {
    const members = type.children.map((member, i) => {
      const values = children[i];
      return `${JSON.stringify(member.name)}:${values === undefined ? 'null' : jsonText(values, index)}`;
    });
    return `{${members.join(',')}}`;
  }
  if (DataType.isUnion(type)) {
    const member = children[type.typeIdToChildIndex[data.typeIds[index] ?? 0] ?? 0];
    if (member === undefined) return 'null';
    return jsonText(member, DataType.isDenseUnion(type) ? (data.valueOffsets[index] ?? 0) : index);
  }
  if (DataType.isTimestamp(type)) return JSON.stringify(isoText(data, index));
  if (DataType.isBinary(type) || DataType.isLargeBinary(type)) return `"${base64(bytesOf(data, index))}"`;
  // A fraction ends with its last digit.
  if (DataType.isTime(type) || DataType.isInterval(type)) {
    return JSON.stringify(scalarText(data, index).replace(FRACTION, '$1'));
  }
  return JSON.stringify(scalarText(data, index));
}

const FRACTION = /(\.\d*[1-9])0+$/;

function list(child: Data, begin: number, end: number): string {
  let out = '[';
  for (let i = begin; i < end; i++) out += (i === begin ? '' : ',') + jsonText(child, i);
  return `${out}]`;
}

function isoText(data: Data, index: number): string {
  const type = data.type as DataType & { unit: TimeUnit; timezone: string };
  const value = BigInt(data.values[index]);
  const text = timestampText(value, perSecond(type.unit), false);
  // Infinity, and years that no ISO text has, stay as they are.
  const found = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?$/.exec(text);
  if (found === null) return text;
  const [, day, time, fraction = ''] = found;
  const digits =
    type.unit === TimeUnit.MICROSECOND ? `.${fraction.slice(1).padEnd(6, '0')}` : fraction.replace(FRACTION, '$1');
  return `${day}T${time}${digits}${hasZone(data.type as never) ? 'Z' : ''}`;
}

/** Bytes that become one text of characters at a time: as arguments they are on the stack. */
const PIECE = 0x8000;

function base64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += PIECE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(binary);
}
