/** A folder that is watched for years must not fill the disk, or a backup, with files; and few files must prove as much as many did. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  appendFileSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from 'node:fs';
import { join } from 'node:path';
import { leafHash, rootFromInclusion } from '../../../server/src/core/merkle.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { repairLog } from '../../../server/src/log/repair.ts';
import { RewriteGuard } from '../../../server/src/log/rewrite-guard.ts';
import type { Append, Damage } from '../../../server/src/log/types.ts';
import { quickDirectory, Scratch } from './scratch.ts';
import { splitTiles } from './single-tiles.ts';

/** Records without content: more than a file of tiles holds. */
const RECORDS = 66_000;

function small(i: number): Append {
  return {
    draft: { kind: 'created', path: `f${i}`, type: 'file', size: 0, mode: 0o644, flags: ['no-content'] },
    chunks: []
  };
}

const shown = (damages: readonly Damage[]): string[] =>
  damages.map(({ kind, where }) => `${kind} ${where.replace(/^log\/\w+\//, '')}`);

describe('a log of many small changes', () => {
  const large = new Scratch(quickDirectory());
  let device = '';
  beforeAll(async () => {
    const log = await large.writer();
    device = log.device;
    const batches = [];
    for (let from = 0; from < RECORDS; from += 3000) {
      batches.push(log.append(Array.from({ length: Math.min(3000, RECORDS - from) }, (_, i) => small(from + i))));
    }
    await Promise.all(batches);
    await log.close();
  }, 120_000);
  afterAll(() => large[Symbol.dispose]());

  /** A copy to do harm to. */
  function copy(): { scratch: Scratch; dir: string; tile: (name: string) => string } {
    const scratch = new Scratch(quickDirectory());
    cpSync(large.base, scratch.base, { recursive: true });
    scratch.forget();
    return { scratch, dir: scratch.dir, tile: name => join(scratch.dir, 'log', device, 'tile', name) };
  }

  test('is few files, however many changes', async () => {
    const files = large.files().map(file => file.replace(`log/${device}/`, ''));
    expect(files.filter(file => !file.startsWith('cache/')).sort()).toEqual([
      '.gitignore',
      '00000000000000000001-000000.seg',
      'checkpoint',
      'device.json',
      'format.json',
      'head.json',
      'tile/0/000000.tiles',
      'tile/0/000001.tiles',
      'tile/1/000000.tiles',
      'tile/2/000000.tiles'
    ]);
    for (const file of files) {
      expect([file, (statSync(join(large.dir, file), { throwIfNoEntry: false })?.mode ?? 0o600) & 0o77]).toEqual([
        file,
        0
      ]);
    }
    expect(await large.fsck()).toEqual([]);
    const guard = new RewriteGuard(large.dir, join(large.base, 'receiver'));
    expect(guard.check()).toEqual([]);
    guard.close();
  });

  test('proves its changes on both sides of the end of a file', () => {
    for (const seq of [1, 256, 65_536, 65_537, RECORDS]) {
      const proof = inclusionProof(large.dir, `${device}.${seq}`);
      expect(rootFromInclusion(leafHash(proof.leaf), seq - 1, RECORDS, proof.hashes)).toBeDefined();
      expect(verifyInclusionProof(decodeProof(encodeProof(proof)))?.change).toMatchObject({ seq, path: `f${seq - 1}` });
    }
  });

  test('damage of one file is named, does not keep a version from being proven, and is made anew beside the others', async () => {
    const { scratch, dir, tile } = copy();
    using _scratch = scratch;
    flip(tile('0/000001.tiles'), 40);
    rmSync(tile('0/000000.tiles'));
    expect(shown(await scratch.fsck(false))).toEqual(['checksum tile/0/000001.tiles', 'missing tile/0/000000.tiles']);
    expect(inclusionProof(dir, `${device}.65537`).hashes).toEqual(inclusionProof(large.dir, `${device}.65537`).hashes);
    await repairLog(dir, { configDir: scratch.keys });
    expect(await scratch.fsck(false)).toEqual([]);
    for (const name of ['0/000000.tiles', '0/000001.tiles', '1/000000.tiles', '2/000000.tiles']) {
      expect(readFileSync(tile(name)).equals(readFileSync(join(large.dir, 'log', device, 'tile', name)))).toBe(true);
    }
  }, 60_000);
});

const HARMS: [harm: string, file: string, does: (path: string) => void, named: string][] = [
  ['a flipped bit', '0/000000.tiles', path => flip(path, 20_000), 'checksum'],
  ['an end that is gone', '0/000000.tiles', path => truncateSync(path, 5000), 'checksum'],
  ['something behind its end', '0/000000.tiles', path => appendFileSync(path, Buffer.alloc(32)), 'checksum'],
  ['more than any has', '0/000000.tiles', path => truncateSync(path, 2 ** 40), 'checksum'],
  ['a link to something else', '1/000000.tiles', path => link(path), 'checksum'],
  ['a directory in its place', '1/000000.tiles', path => (rmSync(path), mkdirSync(path)), 'checksum'],
  ['nothing in its place', '0/000000.tiles', path => rmSync(path), 'missing'],
  ['a number that is not reached', '0/000007.tiles', path => writeFileSync(path, Buffer.alloc(64)), 'checksum'],
  ['a level that is not there', '5/000000.tiles', path => beside(path), 'checksum'],
  ['another name', '0/00001.tiles', path => writeFileSync(path, Buffer.alloc(64)), 'unknown-file']
];

const link = (path: string): void => {
  rmSync(path);
  writeFileSync(`${path}.target`, 'of the user');
  symlinkSync(`${path}.target`, path);
};

const beside = (path: string): void => {
  mkdirSync(join(path, '..'));
  writeFileSync(path, Buffer.alloc(64));
};

test.each(HARMS)('a file of tiles with %s is named, and made anew', async (_, file, does, named) => {
  using scratch = new Scratch(quickDirectory());
  const { device, tile } = await many(scratch);
  const sound = new Map(['0/000000.tiles', '1/000000.tiles'].map(name => [name, readFileSync(tile(name))]));
  does(tile(file));
  const others = (damages: readonly Damage[]): string[] => shown(damages).filter(one => !one.endsWith('.target'));
  expect(others(await scratch.fsck())).toEqual([`${named} tile/${file}`]);
  expect(verifyInclusionProof(inclusionProof(scratch.dir, `${device}.600`))).toBeDefined();
  await repairLog(scratch.dir, { configDir: scratch.keys });
  expect(await scratch.fsck()).toEqual([]);
  for (const [name, bytes] of sound) expect([name, readFileSync(tile(name)).equals(bytes)]).toEqual([name, true]);
  const aside = join(scratch.dir, 'quarantine/log', device, 'tile', file);
  if (named !== 'missing') expect(lstatSync(aside).isFile()).toBe(!/link|directory/.test(_));
  if (_.includes('link')) expect(readFileSync(`${aside}.target`, 'utf8')).toBe('of the user');
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = bytes[at]! ^ 4;
  writeFileSync(path, bytes);
}

/** 700 changes: two full tiles and one that is not. */
async function many(scratch: Scratch): Promise<{ device: string; stream: string; tile: (name: string) => string }> {
  const log = await scratch.writer();
  await log.append(Array.from({ length: 700 }, (_, i) => small(i)));
  await log.close();
  const stream = join(scratch.dir, 'log', log.device);
  return { device: log.device, stream, tile: name => join(stream, 'tile', name) };
}

test('a log with a file for each tile is gone on with: the files become few, and what was proven stays proven', async () => {
  using scratch = new Scratch(quickDirectory());
  const { device, stream } = await many(scratch);
  const names = (): string[] =>
    scratch
      .files(`log/${device}/tile`)
      .map(file => file.split('/tile/')[1]!)
      .sort();
  splitTiles(stream);
  expect(names()).toEqual(['0/000', '0/001', '0/002.p/188', '1/000.p/2']);
  expect(await scratch.fsck()).toEqual([]);
  const before = encodeProof(inclusionProof(scratch.dir, `${device}.300`));
  const next = await scratch.writer();
  expect([next.device, names().length]).toEqual([device, 4]);
  await next.append([small(700)]);
  await next.close();
  expect(names()).toEqual(['0/000000.tiles', '1/000000.tiles']);
  expect(await scratch.fsck()).toEqual([]);
  expect(verifyInclusionProof(decodeProof(before))).toBeDefined();
  expect(verifyInclusionProof(inclusionProof(scratch.dir, `${device}.300`))?.checkpoint.size).toBe(701);
});

test('of a file of which one tile is damaged the others still stand for records that are lost', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  for (let i = 0; i < 4; i += 1) await log.append(Array.from({ length: 200 }, (_, k) => small(i * 200 + k)));
  await log.close();
  const segment = readFileSync(scratch.segment());
  // The records of the first frame can no longer be read; what was signed of them is only in the tiles.
  const first = segment.indexOf('SYFR');
  flip(scratch.segment(), first + 120);
  const file = join(scratch.dir, 'log', log.device, 'tile/0/000000.tiles');
  flip(file, 600 * 32);
  expect(shown(await scratch.fsck())).toContain('checksum tile/0/000000.tiles');
  await repairLog(scratch.dir, { configDir: scratch.keys });
  expect(shown(await scratch.fsck())).not.toContain('checksum tile/0/000000.tiles');
  expect(verifyInclusionProof(inclusionProof(scratch.dir, `${log.device}.601`))).toBeDefined();
});

test('many short sessions are one segment, not one each', async () => {
  using scratch = new Scratch(quickDirectory());
  for (let i = 0; i < 60; i += 1) {
    const log = await scratch.writer();
    await log.append([small(i)]);
    await log.close();
  }
  const files = scratch.files().filter(file => !file.startsWith('cache/'));
  expect(files.map(file => file.replace(/^log\/\w+\//, '')).sort()).toEqual([
    '.gitignore',
    '00000000000000000001-000000.seg',
    'checkpoint',
    'device.json',
    'format.json',
    'head.json',
    'tile/0/000000.tiles'
  ]);
  expect(await scratch.fsck()).toEqual([]);
});

test('what a crash leaves behind the last checkpoint is no damage, and is written over', async () => {
  using scratch = new Scratch(quickDirectory());
  const { tile } = await many(scratch);
  const { dir } = scratch;
  const open = await scratch.writer();
  await open.append([small(1)]);
  // The process dies: the hashes of the next checkpoint are half written, and no head says that the log was closed.
  cpSync(dir, join(scratch.base, 'crashed'), { recursive: true });
  await open.close();
  rmSync(dir, { recursive: true });
  rmSync(join(scratch.base, 'crashed/locks'), { recursive: true });
  cpSync(join(scratch.base, 'crashed'), dir, { recursive: true });
  scratch.forget();
  appendFileSync(tile('0/000000.tiles'), Buffer.alloc(5000, 7));
  expect(await scratch.fsck()).toEqual([]);
  const log = await scratch.writer();
  await log.append([small(2)]);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
  expect(statSync(tile('0/000000.tiles')).size).toBe(702 * 32);
});

test('a file that somebody took away is there again after the next session, and a session goes on without', async () => {
  using scratch = new Scratch(quickDirectory());
  const { device, tile } = await many(scratch);
  const log = await scratch.writer();
  rmSync(tile('0/000000.tiles'));
  await log.append([small(1)]);
  await log.close();
  expect(shown(await scratch.fsck())).toEqual(['missing tile/0/000000.tiles']);
  const next = await scratch.writer();
  expect(next.device).toBe(device);
  await next.append([small(2)]);
  await next.close();
  expect(await scratch.fsck()).toEqual([]);
});
