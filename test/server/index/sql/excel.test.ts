/** Excel workbooks as tables: what a column is, every digit of it, and workbooks that were made to do harm. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import { ChangeIndex } from '../../../../server/src/index/change-index.ts';
import { SqlEngine } from '../../../../server/src/index/sql/engine.ts';
import { tableOver } from '../../../../server/src/index/sql/readers.ts';
import { saidIn } from '../../../../server/src/library/said.ts';
import { openLogReader } from '../../../../server/src/log/log.ts';
import { Scratch, version } from '../../log/scratch.ts';
import { api } from './sample-index.ts';

/** Written by openpyxl, as a user's are: three sheets with something in them, and one without. */
const SALES = fileURLToPath(new URL('../../../fixtures/sales.xlsx', import.meta.url));

let dir: string;
let instance: DuckDBInstance;
let own: DuckDBConnection;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-excel-'));
});
beforeEach(async () => {
  instance = await api.DuckDBInstance.create(':memory:', { memory_limit: '256MB', temp_directory: '' });
  own = await instance.connect();
});
afterEach(() => {
  own.closeSync();
  instance.closeSync();
});
afterAll(() => rm(dir, { recursive: true, force: true }));

interface Read {
  readonly columns: readonly (readonly [name: string, type: string])[];
  readonly rows: readonly (readonly unknown[])[];
}

async function read(file: string, sheet?: string): Promise<Read> {
  const content = { file, size: (await stat(file)).size, path: 'data/sales.xlsx', versionId: 'k7.1' };
  const table = await tableOver(own, content, sheet);
  const described = await own.runAndReadAll(`DESCRIBE SELECT * FROM ${table}`);
  const rows = await own.runAndReadAll(`SELECT * FROM ${table}`);
  return {
    columns: described.getRows().map(row => [String(row[0]), String(row[1])] as const),
    rows: rows.getRows().map(row => row.map(value => (typeof value === 'object' ? value && String(value) : value)))
  };
}

interface Part {
  readonly name: string;
  readonly text: string | Buffer;
  /** What the archive says that it becomes, when that is not so. */
  readonly says?: number;
}

/** An archive of parts, deflated. */
function archive(parts: readonly Part[]): Buffer {
  const pieces: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, text, says } of parts) {
    const raw = Buffer.from(text as string);
    const packed = deflateRawSync(raw);
    const head = Buffer.alloc(30 + name.length);
    head.writeUInt32LE(0x04034b50, 0);
    head.writeUInt16LE(8, 8);
    head.writeUInt32LE(crc32(raw), 14);
    head.writeUInt32LE(packed.length, 18);
    head.writeUInt32LE(says ?? raw.length, 22);
    head.writeUInt16LE(name.length, 26);
    head.write(name, 30);
    const entry = Buffer.alloc(46 + name.length);
    entry.writeUInt32LE(0x02014b50, 0);
    head.copy(entry, 6, 4, 30);
    entry.writeUInt32LE(at, 42);
    entry.write(name, 46);
    pieces.push(head, packed);
    directory.push(entry);
    at += head.length + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(parts.length, 8);
  end.writeUInt16LE(parts.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...pieces, ...directory, end]);
}

const RELATIONS = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const relation = (id: string, type: string, target: string): string =>
  `<Relationship Id="${id}" Type="${RELATIONS}/${type}" Target="${target}"/>`;

/** A workbook with one sheet, whose rows are given as XML; `more` takes the place of parts. */
async function workbook(rows: string, more: readonly Part[] = []): Promise<string> {
  const parts: Part[] = [
    { name: '[Content_Types].xml', text: '<Types/>' },
    {
      name: '_rels/.rels',
      text: `<Relationships>${relation('r1', 'officeDocument', 'xl/workbook.xml')}</Relationships>`
    },
    {
      name: 'xl/workbook.xml',
      text: '<workbook xmlns:r="r"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>'
    },
    {
      name: 'xl/_rels/workbook.xml.rels',
      text: `<Relationships>${relation('r1', 'worksheet', 'worksheets/sheet1.xml')}${relation('r2', 'sharedStrings', 'sharedStrings.xml')}</Relationships>`
    },
    { name: 'xl/sharedStrings.xml', text: '<sst><si><t>shared</t></si></sst>' },
    { name: 'xl/worksheets/sheet1.xml', text: `<worksheet><sheetData>${rows}</sheetData></worksheet>` }
  ];
  const file = join(dir, 'made.xlsx');
  const names = new Set(more.map(({ name }) => name));
  await writeFile(file, archive([...parts.filter(({ name }) => !names.has(name)), ...more]));
  return file;
}

describe('a sheet', () => {
  test('has the columns, types and values that its author sees', async () => {
    const { columns, rows } = await read(SALES);
    expect(columns).toEqual([
      ['id', 'BIGINT'],
      ['day', 'DATE'],
      ['at', 'TIMESTAMP'],
      ['hour', 'TIME'],
      ['amount', 'DOUBLE'],
      ['paid', 'BOOLEAN'],
      ['note', 'VARCHAR'],
      ['id_1', 'BIGINT'],
      ['I', 'VARCHAR'],
      ['mixed', 'VARCHAR']
    ]);
    expect(rows).toHaveLength(300);
    expect(rows[0]).toEqual([
      1n,
      '2024-02-29',
      '2024-02-29 12:30:16',
      '09:15:00',
      1.5,
      false,
      'Müller & Söhne <1>',
      1000000000001n,
      'x',
      '1'
    ]);
    // What a formula could not make is no value, and takes no column its type.
    expect(rows[1]?.slice(4)).toEqual([null, true, 'Müller & Söhne <2>', 1000000000002n, 'x', 'text']);
    expect(rows[4]?.[6]).toBeNull();
  });

  test('is chosen by its name; the names are said when it is not there', async () => {
    expect(await read(SALES, 'Q 2 & more')).toEqual({
      columns: [
        ['total', 'BIGINT'],
        ['when', 'DATE']
      ],
      rows: [[42n, '1900-03-01']]
    });
    const file = join(dir, 'copy.xlsx');
    await copyFile(SALES, file);
    expect((await read(file, 'Only numbers')).columns).toEqual([
      ['A', 'BIGINT'],
      ['B', 'DOUBLE'],
      ['C', 'VARCHAR']
    ]);
    expect((await read(file, 'Only numbers')).rows).toEqual([
      [1n, 2.5, null],
      [3n, null, 'wide']
    ]);
    await expect(read(SALES, 'q2')).rejects.toMatchObject({
      code: 'SQL_INVALID',
      message: 'data/sales.xlsx (version k7.1) has no sheet q2. It has: Sales, Q 2 & more, Only numbers, Empty.'
    });
    await expect(read(SALES, 'Empty')).rejects.toThrow('has nothing in its sheet Empty, and is no table.');
  });

  test('of many rows, which grow wider, arrives whole', async () => {
    const cells = (row: number): string => {
      const count = row < 5000 ? 3 : 40;
      return Array.from({ length: count }, (_, i) => `<c><v>${row * 100 + i}</v></c>`).join('');
    };
    const file = await workbook(Array.from({ length: 6000 }, (_, i) => `<row>${cells(i)}</row>`).join(''));
    const { columns, rows } = await read(file);
    expect(columns).toHaveLength(40);
    expect(columns[39]).toEqual(['AN', 'BIGINT']);
    expect(rows).toHaveLength(6000);
    expect(rows[4999]?.slice(0, 4)).toEqual([499900n, 499901n, 499902n, null]);
    expect(rows[5999]?.[39]).toBe(599939n);
  });

  test('keeps digits: whole numbers beyond what is exact are not called whole', async () => {
    const file = await workbook(
      '<row><c><v>9007199254740991</v></c><c><v>1e300</v></c><c t="str"><v>007</v></c><c t="s"><v>0</v></c></row>'
    );
    expect(await read(file)).toEqual({
      columns: [
        ['A', 'BIGINT'],
        ['B', 'DOUBLE'],
        ['C', 'VARCHAR'],
        ['D', 'VARCHAR']
      ],
      rows: [[9007199254740991n, 1e300, '007', 'shared']]
    });
  });
});

test('versions of a workbook are asked for in SQL, and compared, in the process of queries', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  const cell = (value: number): string => `<c><v>${value}</v></c>`;
  const made = async (amount: number): Promise<Buffer> =>
    readFile(await workbook(`<row>${cell(1)}${cell(10)}</row><row>${cell(2)}${cell(amount)}</row>`));
  await log.append([version(log, 'data/sales.xlsx', await readFile(SALES))]);
  await log.append([version(log, 'made.xlsx', await made(20))]);
  await log.append([version(log, 'made.xlsx', await made(25), { kind: 'modified' })]);
  await log.close();
  await using opened = new AsyncDisposableStack();
  const reader = await openLogReader({ dir: scratch.dir });
  opened.defer(() => reader.close());
  const index = opened.use(ChangeIndex.open({ dir: join(scratch.dir, 'index'), log: reader }));
  const engine = opened.use(
    new SqlEngine({
      index,
      log: () => reader,
      logDir: () => scratch.dir,
      keys: () => undefined,
      marks: async () => (await saidIn(reader)).marks,
      dir: () => join(scratch.dir, 'index')
    })
  );
  const ask = async (query: string, parameters: string[] = []): Promise<unknown> => {
    const limits = { maxRows: 10, timeoutMs: 20_000, memoryMb: 256 };
    const { bytes, ended } = await engine.query(
      { query, parameters, format: 'json', ...limits },
      AbortSignal.timeout(30_000)
    );
    const pieces: Uint8Array[] = [];
    for await (const piece of bytes) pieces.push(piece);
    expect((await ended).error).toBeUndefined();
    return JSON.parse(Buffer.concat(pieces).toString());
  };
  expect(
    await ask("SELECT day, sum(amount) AS total FROM version_of('data/sales.xlsx') GROUP BY day ORDER BY day LIMIT 1")
  ).toEqual([{ day: '2024-02-28', total: 19417.5 }]);
  expect(await ask("SELECT total FROM version_of('data/sales.xlsx', NULL, ?)", ['Q 2 & more'])).toEqual([
    { total: 42 }
  ]);
  expect(await ask("SELECT change, key, after FROM data_diff('made.xlsx', '-1', 'latest', 'A')")).toEqual([
    { change: 'changed', key: 2, after: { A: 2, B: 25 } }
  ]);
  await expect(ask("SELECT * FROM version_of('data/sales.xlsx', 'latest', 'Q3')")).rejects.toThrow(
    'It has: Sales, Q 2 & more'
  );
  await expect(ask("SELECT * FROM version_of('made.xlsx', 'latest', 5)")).rejects.toThrow('must be a text');
});

describe('a workbook that was made to do harm', () => {
  const row = '<row><c><v>1</v></c></row>';
  const refused = async (file: string, why: string | RegExp): Promise<void> => {
    const before = process.memoryUsage().rss;
    const error: unknown = await read(file).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SQL_INVALID' });
    expect((error as Error).message).toMatch(new RegExp(why));
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  };

  test('is refused before it is unpacked, when it says that it becomes too large', async () => {
    const name = 'xl/sharedStrings.xml';
    await refused(await workbook(row, [{ name, text: '<sst/>', says: 200 << 20 }]), `too large.*: ${name}`);
    const sheet = 'xl/worksheets/sheet1.xml';
    await refused(await workbook('', [{ name: sheet, text: row, says: 0xfffffff0 }]), `too large.*: ${sheet}`);
    await refused(await workbook('', [{ name: sheet, text: row, says: 0 }]), `too large.*: ${sheet}`);
  });

  test('is refused when it becomes more than it says', async () => {
    const bomb = Buffer.alloc(50 << 20, ' ');
    await refused(
      await workbook(row, [{ name: 'xl/sharedStrings.xml', text: bomb, says: 1000 }]),
      'cannot be read as a workbook'
    );
    await refused(
      await workbook('', [{ name: 'xl/worksheets/sheet1.xml', text: bomb, says: 1000 }]),
      'cannot be read as a workbook'
    );
  });

  test('has no room that it claims by one cell in a far corner of each row', async () => {
    const far = (value: string): string =>
      Array.from({ length: 1300 }, (_, i) => `<row><c r="XFD${i + 1}" t="str"><v>${value}</v></c></row>`).join('');
    await refused(await workbook(far('x')), 'more than 4096 columns');
    await refused(await workbook(far('')), 'more than 20 million cells');
    const beyond = '<row r="1"><c r="ZZZZ1"><v>1</v></c></row>';
    await refused(await workbook(beyond), 'cannot be read as a workbook');
  });

  test('has no entities that grow, and reads no other file', async () => {
    const entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY f SYSTEM "file:///etc/passwd">]>';
    const text = `${entities}<worksheet><sheetData><row><c t="str"><v>&a;&f;</v></c></row></sheetData></worksheet>`;
    const { rows, columns } = await read(await workbook('', [{ name: 'xl/worksheets/sheet1.xml', text }])).catch(
      () => ({
        rows: [],
        columns: []
      })
    );
    expect(JSON.stringify([rows.map(String), columns])).not.toMatch(/aaaa|root:/);
  });

  test('names its columns and texts as it likes, and none of it is run', async () => {
    const evil = `x"; DROP TABLE t; --`;
    const cell = (value: string): string => `<c t="inlineStr"><is><t>${value.replaceAll('"', '&quot;')}</t></is></c>`;
    const file = await workbook(`<row>${cell(evil)}</row><row>${cell("'); DROP TABLE t; --")}</row>`);
    expect(await read(file)).toEqual({ columns: [[evil, 'VARCHAR']], rows: [["'); DROP TABLE t; --"]] });
  });

  test.each([
    ['nothing but a beginning', Buffer.from('PK')],
    ['cut off', archive([{ name: 'a', text: 'b' }]).subarray(0, 40)],
    [
      'a directory that leads out of it',
      Buffer.concat([Buffer.from('504b0506', 'hex'), Buffer.alloc(6), Buffer.from('0100ffffff00ffffff000000', 'hex')])
    ],
    [
      'more entries than a workbook has',
      archive(Array.from({ length: 10_001 }, (_, i) => ({ name: `${i}`, text: '' })))
    ],
    ['an archive of something else', archive([{ name: 'a.txt', text: 'b' }])]
  ])('is %s', async (_, bytes) => {
    const file = join(dir, 'broken.xlsx');
    await writeFile(file, bytes);
    await refused(file, 'no workbook of Excel|cannot be read as a workbook');
  });

  test('with a password, or of the older format, is said to be so', async () => {
    const file = join(dir, 'old.xlsx');
    await writeFile(file, Buffer.concat([Buffer.from('d0cf11e0a1b11ae1', 'hex'), Buffer.alloc(1000)]));
    await refused(file, 'protected by a password, or a workbook of the older format');
  });
});
