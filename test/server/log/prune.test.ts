/**
 * Pruning: what a policy keeps is there byte for byte, what it drops says so, and all that was signed and proven stays so. A random
 * life of a log against an oracle, and the things a user would lose one by one.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { actDraft, Marks } from '../../../server/src/core/retention-act.ts';
import { parsePolicy, type RetentionPolicy } from '../../../server/src/core/retention-policy.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { pruneLog, type Pruned } from '../../../server/src/log/prune.ts';
import type { Append, LogReader, LogWriter, OpenWriter } from '../../../server/src/log/types.ts';
import { all, codeOf, quickDirectory, Scratch, sha256, version } from './scratch.ts';

/** SYFT_PRUNE_RUNS for more lives, SYFT_PRUNE_SEED to have some again. */
const RUNS = Number(process.env['SYFT_PRUNE_RUNS'] ?? 40);
const SEED = process.env['SYFT_PRUNE_SEED'];

const DAY = 86_400e6;
const NOW = Date.parse('2026-11-28T12:00:00Z') * 1000;
const KEEP_LAST = parsePolicy({ keepAll: '0h' }, 'test');

/** Bytes that do not compress, the same for one name. */
function noise(name: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(name).digest();
}

/** A version made of several chunks, which others may share. */
function chunked(log: LogWriter, path: string, chunks: readonly Buffer[], at: number): Append {
  const { ref, chunks: more } = log.contentRef(chunks.map(sha256));
  const { draft } = version(log, path, Buffer.concat(chunks), { content: ref, at });
  return { draft, chunks: [...chunks.map(bytes => ({ id: sha256(bytes), bytes })), ...more] };
}

const prune = (log: OpenWriter, policy: RetentionPolicy = KEEP_LAST, dryRun = false): Promise<Pruned> =>
  pruneLog(log, policy, { now: NOW, dryRun });

const segmentBytes = (scratch: Scratch): number =>
  scratch.segments().reduce((sum, path) => sum + statSync(path).size, 0);

test('the dry run says what goes and what that frees, to the byte; the real run does just that', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const texts = ['one', 'two', 'three'].map(name => noise(name, 50_000).toString('hex'));
  for (const [i, text] of texts.entries()) await log.append([version(log, 'a', text, { at: NOW - (10 - i) * DAY })]);
  await log.append([version(log, 'b', 'only version', { at: NOW - 100 * DAY })]);
  await log.append([
    { draft: { kind: 'deleted', path: 'b', type: 'file', flags: [], at: NOW - 99 * DAY }, chunks: [] }
  ]);
  const before = segmentBytes(scratch);
  const said = await prune(log, KEEP_LAST, true);
  expect(segmentBytes(scratch)).toBe(before);
  expect(said.lost.map(({ path, size }) => [path, size])).toEqual([
    ['a', 100_000],
    ['a', 100_000]
  ]);
  expect(said.freedBytes).toBeGreaterThan(90_000);

  const done = await prune(log);
  expect({ ...done, act: undefined, storedBytes: 0 }).toEqual({ ...said, act: undefined, storedBytes: 0 });
  expect(done.act).toBe(`${log.device}.6`);
  expect(done.storedBytes).toBe(segmentBytes(scratch));
  // A frame that seals, a segment that begins, and the act.
  expect(before - segmentBytes(scratch)).toBeGreaterThan(said.freedBytes - 1000);

  const [first, second, third, only] = (await all(log)) as [Change, Change, Change, Change];
  expect(await codeOf(log.contentBytes(first))).toBe('VERSION_PRUNED');
  expect(await codeOf(log.contentBytes(second))).toBe('VERSION_PRUNED');
  expect(log.dropped(first)?.retention).toMatchObject({
    act: 'prune',
    policy: { keepAll: '0h', timeZone: 'UTC' },
    contents: 2
  });
  expect((await log.contentBytes(third)).toString()).toBe(texts[2]);
  expect((await log.contentBytes(only)).toString()).toBe('only version');
  expect((await prune(log)).lost).toEqual([]);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('what is recorded again after it was pruned is stored again', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const text = noise('again', 30_000).toString('hex');
  await log.append([version(log, 'a', text, { at: 1 })]);
  await log.append([version(log, 'a', 'other', { at: 2 })]);
  await prune(log);
  const [again] = (await log.append([version(log, 'c', text)])) as [Change];
  expect((await log.contentBytes(again)).toString()).toBe(text);
  await log.close();
  const reader = await scratch.reader();
  // The old version has its content again as well, and nobody can tell otherwise.
  for (const change of (await all(reader)).filter(each => each.hash === again.hash)) {
    expect((await reader.contentBytes(change)).toString()).toBe(text);
  }
  await reader.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('a change that takes over a dropped content, as one of permissions does, names no chunks that are not there', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const [old] = (await log.append([version(log, 'a', 'old', { at: 1 })])) as [Change];
  await log.append([version(log, 'a', 'new', { at: 2 })]);
  await prune(log);
  const [copy] = (await log.append([
    { draft: { ...version(log, 'a', 'old').draft, content: old.content!, kind: 'modified' }, chunks: [] }
  ])) as [Change];
  expect([copy.content, copy.flags]).toEqual([undefined, ['no-content']]);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('chunks stored ahead of a change are not dropped from under it', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const parts = [noise('first', 20_000), noise('second', 20_000)];
  await log.append([chunked(log, 'a', parts, 1)]);
  await log.append([version(log, 'a', 'other', { at: 2 })]);
  // A large file is being read: its chunks are known already, so nothing was stored for them.
  await log.putChunks(parts.map(bytes => ({ id: sha256(bytes), bytes })));
  await prune(log);
  const { draft } = chunked(log, 'large', parts, 3);
  const [large] = (await log.append([{ draft, chunks: [] }])) as [Change];
  expect((await log.contentBytes(large)).equals(Buffer.concat(parts))).toBe(true);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('who has the log open reads on, finds what comes, and is told what went', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  for (const i of [1, 2, 3, 4]) await log.append([version(log, 'a', noise(`v${i}`, 20_000), { at: i })]);
  const reader = await scratch.reader(damage => expect(damage).toBeUndefined());
  const early = reader.changes()[Symbol.asyncIterator]();
  const inside = log.changes()[Symbol.asyncIterator]();
  const [first, met] = [(await early.next()).value as Change, (await inside.next()).value as Change];
  expect(first.seq).toBe(met.seq);
  const marks = log.marks();

  await prune(log);
  await log.append([version(log, 'b', 'later')]);
  for (const going of [early, inside]) {
    const seqs: number[] = [];
    for (let next = await going.next(); next.done !== true; next = await going.next()) seqs.push(next.value.seq);
    expect(seqs.slice(0, 3)).toEqual([2, 3, 4]);
  }
  expect((await reader.refresh()).map(change => change.path)).toEqual(['b']);
  // The files it has open are still the old ones.
  expect((await reader.contentBytes(first)).equals(noise('v1', 20_000))).toBe(true);
  await reader.close();
  const fresh = await scratch.reader(damage => expect(damage).toBeUndefined());
  expect(await codeOf(fresh.contentBytes(first))).toBe('VERSION_PRUNED');
  // A place in the log that was kept from before is found again.
  const after = fresh.changesAfter(marks!);
  expect(after).toBeDefined();
  expect((await Array.fromAsync(after!)).map(change => change.path)).toEqual(['b']);
  await fresh.close();
  expect(log.damages).toEqual([]);
  await log.close();
});

test('a proof made before holds after, and a new one can be made of what was pruned', async () => {
  using scratch = new Scratch(quickDirectory());
  let log = await scratch.writer();
  for (const i of [1, 2, 3]) await log.append([version(log, 'a', noise(`v${i}`, 5000), { at: i })]);
  const id = `${log.device}.1`;
  await log.close();
  const proof = encodeProof(inclusionProof(scratch.dir, id));
  log = await scratch.writer();
  await prune(log);
  await log.close();
  for (const each of [
    decodeProof(proof),
    inclusionProof(scratch.dir, id),
    inclusionProof(scratch.dir, `${log.device}.4`)
  ]) {
    expect(verifyInclusionProof(each)).toBeDefined();
  }
  expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);
});

test('a content that is gone without a signed act is damage, and so is one recorded after the act', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  for (const i of [1, 2]) await log.append([version(log, 'a', noise(`v${i}`, 5000), { at: i })]);
  await prune(log);
  const [again] = (await log.append([version(log, 'b', noise('v1', 5000))])) as [Change];
  // As if a later rewriting had taken more than it may.
  const { dropChunks, segmentNames } = await import('../../../server/src/log/drop-chunks.ts');
  await log.close();
  await dropChunks({
    logDir: scratch.dir,
    workspace: log.workspaceId,
    keys: undefined,
    segments: new Map([[log.device, segmentNames(scratch.dir, log.device)]]),
    isDropped: id => id === again.hash || id === sha256(noise('v2', 5000)),
    chunkBytes: () => undefined
  });
  const damages = (await scratch.fsck()).filter(damage => damage.kind === 'content');
  expect(damages.flatMap(damage => damage.versions)).toEqual([`${log.device}.2`, versionId(again)]);
});

test('a budget is kept to the byte where it can be, and it is said where not', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  for (let i = 0; i < 12; i += 1) {
    await log.append([
      version(log, 'a', noise(`v${i}`, 20_000), { at: i + 1 }),
      version(log, 'b', `${i} `.repeat(5000), { at: i + 1 })
    ]);
  }
  const done = await prune(log, parsePolicy({ budget: 100_000 }, 'test'));
  expect(done.budget).toEqual({ limit: 100_000, met: true });
  expect(segmentBytes(scratch)).toBeLessThanOrEqual(100_000);
  expect(segmentBytes(scratch)).toBeGreaterThan(70_000);
  // The record of the prune counts too: else the next one would take more.
  expect((await prune(log, parsePolicy({ budget: 100_000 }, 'test'))).lost).toEqual([]);
  const tight = await prune(log, parsePolicy({ budget: 10_000 }, 'test'));
  expect(tight.budget).toEqual({ limit: 10_000, met: false });
  const changes = await all(log);
  expect((await log.contentBytes(changes.at(-1)!)).toString()).toBe('11 '.repeat(5000));
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('what later versions are based on can go: they are stored anew first, and read as before', async () => {
  using scratch = new Scratch(quickDirectory());
  let log = await scratch.writer();
  const text = noise('a long text', 20_000).toString('base64');
  const contents = Array.from({ length: 60 }, (_, i) => `${text.slice(0, i * 100)}line ${i}\n${text.slice(i * 100)}`);
  let former: Change | undefined;
  for (const [i, content] of contents.entries()) {
    const append = version(log, 'a', content, { at: NOW - (100 - i) * DAY });
    [former] = await log.append([{ ...append, ...(former?.content && { former: former.content }) }]);
  }
  await log.append([version(log, 'keeps', contents[30]!, { at: NOW })]);
  const before = segmentBytes(scratch);
  // All of it takes little more than one version.
  expect(before).toBeLessThan(4 * contents[0]!.length);
  const said = await prune(log, KEEP_LAST, true);
  const done = await prune(log);
  expect([done.lost.length, done.freedBytes]).toEqual([58, said.freedBytes]);
  await log.close();
  expect(await scratch.fsck(true)).toEqual([]);
  log = await scratch.writer();
  const changes = await all(log);
  expect((await log.contentBytes(changes[59]!)).toString()).toBe(contents[59]);
  expect((await log.contentBytes(changes.at(-1)!)).toString()).toBe(contents[30]);
  expect(await codeOf(log.contentBytes(changes[10]!))).toBe('VERSION_PRUNED');
  // And goes on from what is left.
  const [next] = await log.append([{ ...version(log, 'a', `${contents[59]!}more`), former: changes[59]!.content! }]);
  expect((await log.contentBytes(next!)).toString()).toBe(`${contents[59]!}more`);
  await log.close();
  expect(await scratch.fsck(true)).toEqual([]);
});

// ---- a random life ----------------------------------------------------------------------------------------------------

interface Kept {
  readonly content: Buffer;
  readonly path: string;
  readonly at: number;
  readonly id: string;
  pinned: boolean;
  pruned: boolean;
}

type Step =
  | { do: 'record'; path: string; parts: number[]; age: number }
  | { do: 'delete'; path: string }
  | { do: 'pin' | 'unpin'; which: number }
  | { do: 'prune'; policy: RetentionPolicy }
  | { do: 'reopen' };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('record' as const),
        path: fc.constantFrom('a', 'b', 'c'),
        parts: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }),
        age: fc.integer({ min: 0, max: 40 * 24 })
      })
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), path: fc.constantFrom('a', 'b') }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('pin' as const, 'unpin' as const), which: fc.nat(30) }) },
    {
      weight: 2,
      arbitrary: fc
        .record(
          {
            keepAll: fc.constantFrom('0h', '5d'),
            hourly: fc.constantFrom('10d', '1w'),
            daily: fc.constantFrom('20d', 'forever'),
            weekly: fc.constant('forever'),
            budget: fc.constantFrom('2kb', '20kb')
          },
          { requiredKeys: [] }
        )
        .map(text => ({ do: 'prune' as const, policy: parsePolicy(text, 'test') }))
    },
    { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const }) }
  ),
  { minLength: 4, maxLength: 25 }
);

/** Chunks that contents share; of some sizes, so that blocks are cut apart in all ways. */
const PARTS = Array.from({ length: 6 }, (_, i) =>
  // The latter three differ in little: one is stored as a delta on another.
  i < 3 ? noise(`part ${i}`, 1500 * (i + 1)) : Buffer.concat([noise('like', 2500), Buffer.from(`part ${i}`)])
);

async function agrees(log: LogReader, oracle: readonly Kept[]): Promise<void> {
  const changes = new Map((await all(log)).map(change => [versionId(change), change]));
  for (const kept of oracle) {
    const change = changes.get(kept.id)!;
    const code = await codeOf(log.contentBytes(change));
    // What was pruned may still be whole where others need its chunks; what is kept must be.
    if (code !== undefined) expect([kept.id, kept.pruned, code]).toEqual([kept.id, true, 'VERSION_PRUNED']);
    else expect((await log.contentBytes(change)).equals(kept.content)).toBe(true);
  }
}

test(
  'a random life: nothing is lost but what a prune said, and never the last, a pin, or what others need',
  async () => {
    let prunes = 0;
    await fc.assert(
      fc.asyncProperty(steps, async life => {
        using scratch = new Scratch(quickDirectory());
        let log = await scratch.writer();
        const oracle: Kept[] = [];
        for (const step of life) {
          switch (step.do) {
            case 'record': {
              const content = step.parts.map(part => PARTS[part]!);
              const at = NOW - step.age * 3600e6;
              const former = (await all(log)).findLast(({ path }) => path === step.path)?.content;
              const append = chunked(log, step.path, content, at);
              const [change] = (await log.append([{ ...append, ...(former && { former }) }])) as [Change];
              const kept = { content: Buffer.concat(content), path: step.path, at, id: versionId(change) };
              oracle.push({ ...kept, pinned: false, pruned: false });
              break;
            }
            case 'delete':
              await log.append([{ draft: { kind: 'deleted', path: step.path, type: 'file', flags: [] }, chunks: [] }]);
              break;
            case 'pin':
            case 'unpin': {
              const kept = oracle[step.which % Math.max(1, oracle.length)];
              if (kept === undefined || kept.pruned) break;
              kept.pinned = step.do === 'pin';
              await log.append([{ draft: actDraft({ act: step.do, version: kept.id }), chunks: [] }]);
              break;
            }
            case 'prune': {
              prunes += 1;
              const said = await prune(log, step.policy, true);
              const done = await prune(log, step.policy);
              expect([done.lost, done.freedBytes]).toEqual([said.lost, said.freedBytes]);
              for (const { versionId: id } of done.lost) {
                const kept = oracle.find(each => each.id === id)!;
                expect([id, kept.pinned, kept.pruned]).toEqual([id, false, false]);
                kept.pruned = true;
              }
              for (const path of ['a', 'b', 'c']) {
                expect(oracle.findLast(kept => kept.path === path)?.pruned ?? false).toBe(false);
              }
              for (const one of oracle.filter(kept => kept.pruned)) {
                const same = oracle.filter(kept => kept.content.equals(one.content) && !kept.pruned);
                for (const kept of same) expect(oracle.indexOf(kept)).toBeGreaterThan(oracle.indexOf(one));
              }
              const again = await prune(log, step.policy);
              expect(again.lost).toEqual([]);
              break;
            }
            case 'reopen':
              await log.close();
              log = await scratch.writer();
          }
          await agrees(log, oracle);
        }
        const pinned = [...Marks.of(log.acts()).versions()].map(([id]) => id).sort();
        expect(pinned).toEqual(
          oracle
            .filter(kept => kept.pinned)
            .map(kept => kept.id)
            .sort()
        );
        expect(log.damages).toEqual([]);
        await log.close();
        expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);
        const reader = await scratch.reader(damage => expect(damage).toBeUndefined());
        await agrees(reader, oracle);
        await reader.close();
      }),
      { numRuns: RUNS, ...(SEED !== undefined && { seed: Number(SEED) }) }
    );
    expect(prunes).toBeGreaterThan(20);
  },
  120_000 + RUNS * 500
);
