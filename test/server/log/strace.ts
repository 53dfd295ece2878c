/**
 * Runs the command line under strace: to see which system calls it makes on a log, and to make one of them kill the process
 * or fail. strace counts an injection for each thread by itself, and restricts it to paths named with -P.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** System calls that change a file system, and `close`, which may report what a write could not do. */
const CALLS = [
  'openat',
  'write',
  'pwrite64',
  'writev',
  'pwritev',
  'fsync',
  'fdatasync',
  'ftruncate',
  'fallocate',
  'rename',
  'renameat',
  'renameat2',
  'link',
  'linkat',
  'unlink',
  'unlinkat',
  'rmdir',
  'mkdir',
  'mkdirat',
  'utimensat',
  'close'
];

/** One system call of a run, on something below the traced directory. */
export interface SystemCall {
  readonly name: string;
  /** Below the traced directory; the first one where there are two. */
  readonly path: string;
  readonly thread: 'main' | 'other';
  /** The how manyth of this name and path in this thread. */
  readonly onPath: number;
  /** Opens to read, which changes nothing. */
  readonly reads: boolean;
  /** Because an error was injected. */
  readonly failed: boolean;
}

export type Fault = 'KILL' | 'EIO' | 'ENOSPC';

/** Why strace cannot be used here; `undefined` when it can. */
export function straceProblem(): string | undefined {
  if (process.platform !== 'linux') return 'strace is for Linux';
  const file = join(tmpdir(), `syft-sync-strace-${process.pid}`);
  const done = spawnSync('strace', ['-f', '-o', file, '-e', 'inject=rmdir:error=EIO', 'rmdir', file], {
    encoding: 'utf8'
  });
  rmSync(file, { force: true });
  if (done.error !== undefined) return 'strace is not installed';
  return done.stderr.includes('Input/output error')
    ? undefined
    : `strace cannot trace here: ${done.stderr.trim().split('\n')[0] ?? ''}`;
}

const SAME_RANDOM = `
  import crypto from 'node:crypto';
  import { syncBuiltinESMExports } from 'node:module';
  let n = 0;
  crypto.randomBytes = size => crypto.createHash('sha512').update(String(n++)).digest().subarray(0, size);
  syncBuiltinESMExports();
`;

/**
 * The environment that makes the system calls of two runs comparable: one pool thread, file operations by system calls, and
 * random numbers (the names of lock files, the workspace id) that are the same each time, so that paths are known before.
 */
export const TRACEABLE = {
  UV_THREADPOOL_SIZE: '1',
  UV_USE_IO_URING: '0',
  NODE_OPTIONS: `--import=data:text/javascript;base64,${Buffer.from(SAME_RANDOM).toString('base64')}`
};

/** The command before the command line that only watches. */
export function tracing(file: string): string[] {
  return ['strace', '-f', '-qq', '-y', '-o', file, '-e', `trace=${CALLS.map(name => `?${name}`).join()}`];
}

/** The command before the command line that injects a fault at one call below `dir`. */
export function injecting(file: string, dir: string, call: SystemCall, fault: Fault): string[] {
  const what = fault === 'KILL' ? 'signal=KILL' : `error=${fault}`;
  const inject = `inject=${call.name}:${what}:when=${call.onPath}`;
  const path = join(dir, call.path);
  return ['strace', '-f', '-qq', '-y', '-o', file, '-P', path, '-e', `trace=${call.name}`, '-e', inject];
}

/** The name of a call, the same in every run. */
export function site(call: SystemCall): string {
  return `${call.name} ${call.path} #${call.onPath} (${call.thread})`;
}

/** The calls below `dir` in a trace. */
export function readTrace(file: string, dir: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const counts = new Map<string, number>();
  const count = (key: string): number => {
    const n = (counts.get(key) ?? 0) + 1;
    counts.set(key, n);
    return n;
  };
  let main: string | undefined;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [, thread = '', name = '', rest = ''] = /^(\d+) +(\w+)\((.*)$/.exec(line) ?? [];
    if (name === '') continue;
    main ??= thread;
    // A descriptor is shown with its path; what is written is data, whatever it looks like.
    const onDescriptor = /^\d+<([^>]*)>/.exec(rest)?.[1];
    const paths = onDescriptor === undefined ? [...rest.matchAll(/"([^"]*)"/g)].map(match => match[1] ?? '') : [];
    const path = onDescriptor ?? paths[0] ?? '';
    const onPath = count(`${thread} ${name} ${path}`);
    if (!path.startsWith(`${dir}/`) && path !== dir) continue;
    calls.push({
      name,
      path: path.slice(dir.length + 1),
      thread: thread === main ? 'main' : 'other',
      onPath,
      reads: name === 'openat' && rest.includes('O_RDONLY'),
      failed: line.includes('(INJECTED)')
    });
  }
  return calls;
}

/** Whether an injection has reached its call, by the trace of that run. */
export function wasReached(trace: readonly SystemCall[], call: SystemCall, fault: Fault): boolean {
  return trace.some(
    found => found.path === call.path && (fault === 'KILL' ? found.onPath === call.onPath : found.failed)
  );
}
