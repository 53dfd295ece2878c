/** A change that is not read as it was written is a history that lies. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Change } from '../../../server/src/core/change.ts';
import { decodePath } from '../../../server/src/core/path-name.ts';
import { decodeRecord, encodeRecord, RecordError } from '../../../server/src/core/record.ts';
import { encodeRecords } from '../../../server/src/core/record-lines.ts';

const device = 'abcdefgh';
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytes => Buffer.from(bytes).toString('hex'));
const part = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map(bytes => decodePath(bytes.map(byte => (byte === 0 || byte === 0x2f ? 0x61 : byte))))
  .filter(name => name !== '.' && name !== '..');
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map(parts => parts.join('/'));
const micros = fc.integer({ min: 0, max: 4e15 });
const content = fc.oneof(
  fc.record({ chunks: fc.array(hash, { minLength: 1, maxLength: 5 }) }),
  fc.record({ list: hash, count: fc.integer({ min: 1, max: 1e6 }) })
);
const file = fc
  .record(
    {
      kind: fc.constantFrom('created' as const, 'modified' as const),
      path,
      seq: fc.integer({ min: 1, max: 2 ** 40 }),
      at: micros,
      hlc: micros,
      type: fc.constantFrom('file' as const, 'symlink' as const),
      size: fc.nat(),
      hash,
      previousHash: hash,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      mtime: fc.integer({ min: -4e15, max: 4e15 }),
      content,
      flags: fc.uniqueArray(fc.constantFrom('torn' as const), { maxLength: 1 })
    },
    { requiredKeys: ['kind', 'path', 'seq', 'at', 'hlc', 'type', 'size', 'hash', 'content', 'flags'] }
  )
  .map(change => ({ device, ...change }));

/** What a first capture writes: names of ASCII, content that is one chunk, or none. */
const usual = fc
  .record(
    {
      kind: fc.constantFrom('created' as const, 'modified' as const, 'deleted' as const),
      path: fc.oneof(path, fc.string({ unit: 'grapheme-ascii', minLength: 1 }), fc.constant('a'.repeat(3000))),
      seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      at: fc.oneof(micros, fc.constantFrom(0, 9, 10, 99_999_999, 100_000_000, 1e15)),
      hlc: micros,
      type: fc.constantFrom('file' as const, 'symlink' as const, 'directory' as const),
      size: fc.maxSafeNat(),
      hash,
      previousHash: hash,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      mtime: fc.integer({ min: -10, max: 4e15 }),
      flags: fc.constantFrom<Change['flags']>([], ['no-content'], ['torn'], ['torn', 'no-content'])
    },
    { requiredKeys: ['kind', 'path', 'seq', 'at', 'hlc', 'type', 'flags'] }
  )
  .chain(change =>
    fc.boolean().map(has => ({
      device,
      ...change,
      ...(has && change.hash !== undefined && { content: { chunks: [change.hash] } })
    }))
  );
const moved = fc.record({
  kind: fc.constant('moved' as const),
  path,
  from: path,
  seq: fc.nat(),
  at: micros,
  hlc: micros,
  type: fc.constant('file' as const),
  flags: fc.constant([]),
  cause: fc.constantFrom({ kind: 'restore' as const, version: `${device}.1` }, { kind: 'jupyter-save' as const })
});

describe('records of a frame', () => {
  test('are the lines of each of them', () => {
    const changes = fc.array(
      fc.oneof(
        usual,
        file,
        moved.map(change => ({ device, ...change }))
      ),
      { maxLength: 40 }
    );
    const salts = fc.option(fc.base64String({ minLength: 24, maxLength: 24 }), { nil: undefined });
    fc.assert(
      fc.property(changes, salts, (list, salt) => {
        const lines = list.map(change => `${encodeRecord(change, salt)}\n`).join('');
        const own = salt === undefined ? undefined : () => salt;
        expect(encodeRecords(list, own).toString()).toBe(lines);
      }),
      { numRuns: 300 }
    );
  });
});

describe('a record', () => {
  test('is read back as it was written, whatever the name and the numbers', () => {
    fc.assert(
      fc.property(file, change => {
        expect(decodeRecord(encodeRecord(change), device)).toEqual(change);
      }),
      { numRuns: 500 }
    );
  });

  test('is one line, whatever the name', () => {
    fc.assert(fc.property(file, change => !encodeRecord(change).includes('\n')));
  });

  test('with members of a later version is read without them', () => {
    const change: Change = { device, seq: 1, kind: 'deleted', path: 'a', at: 5, hlc: 5, type: 'file', flags: [] };
    const line = encodeRecord(change).replace('{', '{"author":"somebody","weights":[1,2],');
    expect(decodeRecord(line, device)).toEqual(change);
  });

  test.each([
    ['not JSON', '{"seq":1'],
    ['not an object', '[1]'],
    ['no sequence number', '{"kind":"deleted","path":"a","at":1,"type":"file"}'],
    ['a path out of the workspace', '{"seq":1,"kind":"deleted","path":"../a","at":1,"type":"file"}'],
    ['an absolute path', '{"seq":1,"kind":"deleted","path":"/a","at":1,"type":"file"}'],
    ['a path with an empty part', '{"seq":1,"kind":"deleted","path":"a//b","at":1,"type":"file"}'],
    ['a path with NUL', '{"seq":1,"kind":"deleted","path":"a\\u0000b","at":1,"type":"file"}'],
    [
      'exact bytes that leave the workspace',
      '{"seq":1,"kind":"deleted","path":"x","path64":"Li4vYQ==","at":1,"type":"file"}'
    ],
    ['a kind unknown', '{"seq":1,"kind":"burnt","path":"a","at":1,"type":"file"}'],
    ['a hash too short', '{"seq":1,"kind":"created","path":"a","at":1,"type":"file","hash":"ab","size":1}'],
    ['a number that is none', '{"seq":1,"kind":"deleted","path":"a","at":"now","type":"file"}'],
    ['a negative size', '{"seq":1,"kind":"created","path":"a","at":1,"type":"file","size":-1}'],
    ['moved from nowhere', '{"seq":1,"kind":"moved","path":"a","at":1,"type":"file"}']
  ])('that is %s is refused, not guessed at', (_what, line) => {
    expect(() => decodeRecord(line, device)).toThrow(RecordError);
  });

  test('of any bytes is either read or refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), text => {
        try {
          decodeRecord(text, device);
        } catch (error) {
          expect(error).toBeInstanceOf(RecordError);
        }
      }),
      { numRuns: 1000 }
    );
  });
});
