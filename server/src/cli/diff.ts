/** `diff`: text by line, notebooks by cell, else sizes and hashes. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readFile, readlink } from 'node:fs/promises';
import { structuredPatch } from 'diff';
import { versionId, type Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { diffCells, parseNotebook, type CellChange } from '../core/notebook-diff.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import type { LogView } from '../library/log-view.ts';
import { absolute } from '../library/restore.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { textOf } from '../library/text-content.ts';

/** Above this many bytes only sizes and hashes are compared. */
const TEXT_LIMIT = 16 << 20;

/** One side of a comparison. */
export interface Side {
  /** Version id, or `disk`. */
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly hash: string;
  /** Absent when it is too large to be compared by content. */
  readonly bytes: Buffer | undefined;
}

/** A version as a side. Throws VERSION_HAS_NO_CONTENT. */
export async function versionSide(view: LogView, change: Change): Promise<Side> {
  if (change.kind === 'deleted' || change.hash === undefined) {
    throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(change)} has no content.`, {
      path: displayPath(change.path)
    });
  }
  const size = change.size ?? 0;
  const readable = size <= TEXT_LIMIT && !change.flags.includes('no-content');
  return {
    name: versionId(change),
    path: displayPath(change.path),
    size,
    hash: change.hash,
    bytes: readable ? await view.reader.contentBytes(change) : undefined
  };
}

/** The file on disk as a side; `undefined` when it is gone. */
export async function diskSide(root: string, path: PathName): Promise<Side | undefined> {
  const at = absolute(root, path);
  try {
    const stats = await lstat(at);
    if (stats.isSymbolicLink()) {
      const bytes = await readlink(at, 'buffer');
      return {
        name: 'disk',
        path: displayPath(path),
        size: bytes.length,
        hash: createHash('sha256').update(bytes).digest('hex'),
        bytes
      };
    }
    if (!stats.isFile()) {
      throw new SyftError('PATH_INVALID', `${displayPath(path)} is not a file.`, { path: displayPath(path) });
    }
    if (stats.size <= TEXT_LIMIT) {
      const bytes = await readFile(at);
      return {
        name: 'disk',
        path: displayPath(path),
        size: bytes.length,
        hash: createHash('sha256').update(bytes).digest('hex'),
        bytes
      };
    }
    const hash = createHash('sha256');
    for await (const piece of createReadStream(at)) hash.update(piece as Buffer);
    return { name: 'disk', path: displayPath(path), size: stats.size, hash: hash.digest('hex'), bytes: undefined };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    if (errnoOf(error) === 'EACCES') {
      throw new SyftError('UNREADABLE', `${displayPath(path)} cannot be read.`, {
        cause: error,
        path: displayPath(path)
      });
    }
    throw error;
  }
}

export interface DiffResult {
  readonly json: Record<string, unknown>;
  readonly text: string;
}

function sideJson(side: Side): Record<string, unknown> {
  return { versionId: side.name, path: side.path, size: side.size, hash: `sha256:${side.hash}` };
}

function cellText(change: CellChange): string[] {
  const number = `[${(change.newIndex ?? change.oldIndex ?? 0) + 1}]`;
  const type = (change.new ?? change.old)?.type ?? 'cell';
  if (change.change === 'added') return [`@@ ${type} cell ${number} added`, ...lines(change.new?.source ?? '', '+')];
  if (change.change === 'removed') {
    return [`@@ ${type} cell ${number} removed`, ...lines(change.old?.source ?? '', '-')];
  }
  const moved = change.change === 'moved' ? ` moved from [${(change.oldIndex ?? 0) + 1}]` : '';
  const parts = change.parts.length === 0 ? '' : `: ${change.parts.join(', ')}`;
  const out = [`@@ ${type} cell ${number}${moved}${change.change === 'modified' ? ' modified' : ''}${parts}`];
  if (change.parts.includes('source')) {
    for (const hunk of structuredPatch(
      '',
      '',
      ended(change.old?.source ?? ''),
      ended(change.new?.source ?? ''),
      '',
      '',
      { context: 2 }
    ).hunks) {
      out.push(...hunk.lines);
    }
  }
  return out;
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

function lines(text: string, mark: string): string[] {
  return text
    .replace(/\n$/, '')
    .split('\n')
    .map(line => mark + line);
}

function cellJson(change: CellChange): Record<string, unknown> {
  return {
    change: change.change,
    type: (change.new ?? change.old)?.type,
    ...((change.new ?? change.old)?.id !== undefined && { id: (change.new ?? change.old)?.id }),
    ...(change.oldIndex !== undefined && { oldIndex: change.oldIndex }),
    ...(change.newIndex !== undefined && { newIndex: change.newIndex }),
    parts: change.parts,
    ...(change.old !== undefined && { oldSource: change.old.source }),
    ...(change.new !== undefined && { newSource: change.new.source })
  };
}

/** Compares two sides in the most telling way their contents allow. */
export function compare(a: Side, b: Side): DiffResult {
  const head = { from: sideJson(a), to: sideJson(b) };
  if (a.hash === b.hash) return { json: { kind: 'equal', ...head }, text: '' };
  const title = [`--- ${printable(a.path)}\t${a.name}`, `+++ ${printable(b.path)}\t${b.name}`];
  const left = a.bytes === undefined ? undefined : textOf(a.bytes);
  const right = b.bytes === undefined ? undefined : textOf(b.bytes);
  if (left === undefined || right === undefined) {
    return {
      json: { kind: 'binary', ...head },
      text: [
        ...title,
        `binary: ${readableSize(a.size)} sha256:${a.hash}`,
        `     →  ${readableSize(b.size)} sha256:${b.hash}`
      ].join('\n')
    };
  }
  const cellsA = a.path.endsWith('.ipynb') ? parseNotebook(left) : undefined;
  const cellsB = b.path.endsWith('.ipynb') ? parseNotebook(right) : undefined;
  if (cellsA !== undefined && cellsB !== undefined) {
    const changes = diffCells(cellsA, cellsB);
    const body = changes.length === 0 ? ['only notebook metadata or formatting differs'] : changes.flatMap(cellText);
    return { json: { kind: 'notebook', ...head, cells: changes.map(cellJson) }, text: [...title, ...body].join('\n') };
  }
  const patch = structuredPatch(a.path, b.path, left, right, a.name, b.name, { context: 3, timeout: 10_000 });
  if (patch === undefined) {
    return {
      json: { kind: 'binary', ...head },
      text: [...title, 'too different to be compared line by line'].join('\n')
    };
  }
  const hunks = patch.hunks.map(({ oldStart, oldLines, newStart, newLines, lines: body }) => ({
    oldStart,
    oldLines,
    newStart,
    newLines,
    lines: body
  }));
  const text = hunks.flatMap(hunk => [
    `@@ -${hunk.oldStart},${hunk.oldLines} +${hunk.newStart},${hunk.newLines} @@`,
    ...hunk.lines
  ]);
  return { json: { kind: 'text', ...head, hunks }, text: [...title, ...text].join('\n') };
}
