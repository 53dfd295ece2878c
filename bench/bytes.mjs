/**
 * Bytes kept for the whole history of notebooks: every version of every `.ipynb` of a git repository, oldest first, given to a log
 * as a recorder gives it, one commit a version. Against it: git's own best pack of the same blobs, the bound that
 * structure-aware chunking can reach, and each blob compressed alone.
 *
 *   node bench/bytes.mjs [--no-git] [--no-bound] REPOSITORY…        (bare or not; or BYTES_REPOSITORIES=a:b)
 *
 * The bound: each distinct long line once, at zstd level 9; what is left of each version on what was left of the one before it
 * (level 19, a dictionary).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { chunkContent, CHUNKING } from '../server/src/core/chunking.ts';
import { compactLog } from '../server/src/log/compact.ts';
import { openLogReader, openLogWriter } from '../server/src/log/log.ts';

const NO_GIT = process.argv.includes('--no-git');
const NO_BOUND = process.argv.includes('--no-bound');

const sha256 = bytes => createHash('sha256').update(bytes).digest('hex');
const zstd = (bytes, level, more = {}) =>
  zstdCompressSync(bytes, {
    pledgedSrcSize: bytes.length,
    params: { [constants.ZSTD_c_compressionLevel]: level, ...more.params },
    ...(more.dictionary !== undefined && { dictionary: more.dictionary })
  }).length;
const mb = bytes => (bytes / 1e6).toFixed(2);

function git(repository, args, options = {}) {
  return execFileSync('git', ['-C', repository, ...args], { maxBuffer: 2 ** 31 - 1, ...options });
}

/** Blob and path of each version of each notebook, oldest first. */
function versionsOf(repository) {
  const log = git(repository, [
    'log',
    '--all',
    '--reverse',
    '--topo-order',
    '-m',
    '--raw',
    '--no-abbrev',
    '--no-renames',
    '--format=',
    '-z',
    '--',
    '*.ipynb'
  ]).toString();
  const versions = [];
  const latest = new Map();
  const fields = log.split('\0');
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const blob = fields[i].trim().split(' ')[3];
    const path = fields[i + 1];
    if (/^0+$/.test(blob)) continue;
    if (latest.get(path) === blob) continue;
    latest.set(path, blob);
    versions.push({ blob, path });
  }
  return versions;
}

/** The blobs, one `git cat-file` for all. Missing ones (a partial snapshot) are left out. */
function* contents(repository, blobs) {
  for (let from = 0; from < blobs.length; from += 200) {
    const some = blobs.slice(from, from + 200);
    const out = git(repository, ['cat-file', '--batch'], { input: `${some.join('\n')}\n` });
    let at = 0;
    for (const blob of some) {
      const end = out.indexOf(10, at);
      const [, kind, size] = out.toString('latin1', at, end).split(' ');
      at = end + 1;
      if (kind !== 'blob') continue;
      yield { blob, bytes: out.subarray(at, at + Number(size)) };
      at += Number(size) + 1;
    }
  }
}

function directoryBytes(dir) {
  let total = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += statSync(join(entry.parentPath, entry.name)).size;
  }
  return total;
}

function gitBestPack(repository, blobs, dir) {
  const started = performance.now();
  const result = spawnSync(
    'git',
    ['-C', repository, 'pack-objects', '--window=250', '--no-reuse-delta', '-q', join(dir, 'pack')],
    {
      input: `${blobs.map(({ blob, path }) => `${blob} ${path}`).join('\n')}\n`,
      maxBuffer: 2 ** 30
    }
  );
  if (result.status !== 0) throw new Error(String(result.stderr));
  const pack = readdirSync(dir).find(name => name.endsWith('.pack'));
  return { bytes: statSync(join(dir, pack)).size, seconds: (performance.now() - started) / 1000 };
}

/** The long lines of a notebook, and the rest of it. */
function parted(bytes) {
  const long = [];
  const rest = [];
  for (let at = 0; at < bytes.length;) {
    const newline = bytes.indexOf(10, at);
    const end = newline < 0 ? bytes.length : newline + 1;
    (end - at > CHUNKING.longLine ? long : rest).push(bytes.subarray(at, end));
    at = end;
  }
  return { long, rest: Buffer.concat(rest) };
}

async function measure(repository) {
  const dir = mkdtempSync(join(tmpdir(), 'syft-sync-bench-bytes-'));
  try {
    const versions = versionsOf(repository);
    const logDir = join(dir, 'log');
    const log = await openLogWriter({ dir: logDir, keyDir: join(dir, 'home') });
    const former = new Map();
    const formerRest = new Map();
    const lines = new Set();
    const blobs = new Map();
    let count = 0;
    let raw = 0;
    let bound = 0;
    let alone = 0;
    let seconds = 0;
    let i = 0;
    for (const { blob, bytes } of contents(
      repository,
      versions.map(version => version.blob)
    )) {
      while (versions[i].blob !== blob) i += 1;
      const { path } = versions[i];
      i += 1;
      count += 1;
      raw += bytes.length;
      const hash = sha256(bytes);
      const before = former.get(path);
      const started = performance.now();
      const chunks = chunkContent(bytes, { notebook: true, contentHash: hash });
      const { ref, chunks: lists } = log.contentRef(chunks.map(chunk => chunk.id));
      await log.append([
        {
          draft: {
            kind: before === undefined ? 'created' : 'modified',
            path,
            type: 'file',
            size: bytes.length,
            hash,
            content: ref,
            mode: 0o644,
            mtime: Date.now() * 1000,
            flags: [],
            ...(before !== undefined && { previousHash: before.hash })
          },
          chunks: [...chunks, ...lists],
          ...(before !== undefined && { former: before.ref })
        }
      ]);
      seconds += (performance.now() - started) / 1000;
      former.set(path, { ref, hash });
      if (NO_BOUND) {
        blobs.set(blob, path);
        continue;
      }
      const { long, rest } = parted(bytes);
      for (const line of long) {
        const id = sha256(line);
        if (lines.has(id)) continue;
        lines.add(id);
        bound += zstd(line, 9);
      }
      if (!blobs.has(blob)) {
        alone += zstd(bytes, 9);
        const base = formerRest.get(path);
        const params = { [constants.ZSTD_c_windowLog]: 24 };
        bound +=
          base === undefined
            ? zstd(rest, 19)
            : zstd(rest, 19, { dictionary: Buffer.concat([Buffer.alloc(1), base]), params });
        blobs.set(blob, path);
      }
      formerRest.set(path, rest);
    }
    await log.close();
    const kept = directoryBytes(logDir);
    const compacting = performance.now();
    const again = await openLogWriter({ dir: logDir, keyDir: join(dir, 'home') });
    await compactLog(again, { all: true });
    await again.close();
    const compactSeconds = (performance.now() - compacting) / 1000;
    const compacted = directoryBytes(logDir);
    const reading = performance.now();
    const reader = await openLogReader({ dir: logDir });
    for await (const change of reader.changes()) if (change.content !== undefined) await reader.contentBytes(change);
    await reader.close();
    const readSeconds = (performance.now() - reading) / 1000;
    const best = NO_GIT
      ? undefined
      : gitBestPack(
          repository,
          [...blobs].map(([blob, path]) => ({ blob, path })),
          dir
        );
    const ratio = bytes => {
      const toGit = best === undefined ? '' : ` (${(bytes / best.bytes).toFixed(3)} of git)`;
      return `${mb(bytes)} MB${toGit}${NO_BOUND ? '' : ` (${(bytes / bound).toFixed(3)} of the bound)`}`;
    };
    console.log(`${basename(resolve(repository, '..'))}: ${count} versions, ${blobs.size} distinct, ${mb(raw)} MB`);
    console.log(`  as recorded      ${ratio(kept)}, ${seconds.toFixed(1)} s`);
    console.log(
      `  compacted        ${ratio(compacted)}, ${compactSeconds.toFixed(1)} s; all versions read in ${readSeconds.toFixed(1)} s`
    );
    if (best !== undefined) console.log(`  git's best pack  ${mb(best.bytes)} MB, ${best.seconds.toFixed(1)} s`);
    if (!NO_BOUND) console.log(`  bound            ${mb(bound)} MB`);
    if (!NO_BOUND) console.log(`  each blob alone  ${mb(alone)} MB`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const repositories = process.argv.slice(2).filter(word => !word.startsWith('--'));
if (repositories.length === 0) repositories.push(...(process.env.BYTES_REPOSITORIES ?? '').split(':').filter(Boolean));
if (repositories.length === 0) {
  console.error('usage: node bench/bytes.mjs REPOSITORY…');
  process.exit(2);
}
for (const repository of repositories) await measure(repository);
