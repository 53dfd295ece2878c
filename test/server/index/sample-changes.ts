/** Logs to try the index on: made-up changes, by hand and by fast-check, in the order a log gives them. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { compareChanges, type Change, type ChangeFlag } from '../../../server/src/core/change.ts';
import type { LogReader } from '../../../server/src/log/types.ts';

export const WORKSPACE = '0123456789abcdef0123456789abcdef';
export const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A log that is a list; `append` is what another part of the program would have made durable. */
export class ListLog implements Pick<LogReader, 'changes' | 'workspaceId'> {
  workspaceId = WORKSPACE;
  readonly list: Change[];
  reads = 0;

  constructor(list: readonly Change[] = []) {
    this.list = [...list];
  }

  async *changes(): AsyncIterable<Change> {
    this.reads += 1;
    for (const change of [...this.list]) yield change;
  }
}

const PATHS = [
  'a.txt',
  'b.txt',
  'dir/a.txt',
  'dir/sub/c.ipynb',
  'dir',
  'dir2/a.txt',
  'Ünï/é\n.csv',
  'bad\uDCFFname',
  '\\xFFname',
  'dir/\uDCFE/x'
];

interface Step {
  kind: Change['kind'];
  path: number;
  from: number;
  at: number;
  tick: number;
  device: number;
  content: 'own' | 'chunks' | 'list' | 'none' | 'directory' | 'symlink' | 'empty';
  text: number;
  flags: ChangeFlag[];
  cause: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('created' as const, 'modified' as const, 'deleted' as const, 'moved' as const),
  path: fc.nat(PATHS.length - 1),
  from: fc.nat(PATHS.length - 1),
  // Mostly the same moment or shortly after; sometimes the wall clock runs back.
  at: fc.constantFrom(0, 0, 0, 1, 1, 1_000_000, -5, -1_000_000),
  tick: fc.constantFrom(0, 1, 1000),
  device: fc.constantFrom(0, 0, 0, 1),
  content: fc.constantFrom(
    'own' as const,
    'chunks' as const,
    'list' as const,
    'none' as const,
    'directory' as const,
    'symlink' as const,
    'empty' as const
  ),
  text: fc.nat(5),
  flags: fc.constantFrom<ChangeFlag[]>([], [], ['torn'], ['no-content'], ['torn', 'unreadable']),
  cause: fc.constantFrom(0, 0, 1, 2, 3)
});

const DEVICES = ['aaaaaaaa', 'zzzz2345'];

function build(steps: readonly Step[]): Change[] {
  const seqs = [0, 0];
  let at = 1_790_000_000_000_000;
  let hlc = at;
  const out = steps.map((s): Change => {
    at += s.at;
    hlc += s.tick;
    const seq = (seqs[s.device] as number) + 1;
    seqs[s.device] = seq;
    const text = `content ${s.text}`;
    const has = s.kind !== 'deleted' && s.content !== 'directory' && s.content !== 'none';
    const hash = s.content === 'empty' ? hashOf('') : hashOf(text);
    return {
      device: DEVICES[s.device] as string,
      seq,
      kind: s.kind,
      path: PATHS[s.path] as string,
      at,
      hlc,
      type: s.content === 'directory' ? 'directory' : s.content === 'symlink' ? 'symlink' : 'file',
      ...(has && { size: s.content === 'empty' ? 0 : text.length, hash }),
      ...(s.text % 2 === 1 && { previousHash: hashOf(`content ${s.text - 1}`) }),
      ...(s.kind !== 'deleted' && { mode: 0o644, mtime: at - 7 }),
      flags: s.flags,
      ...(s.kind === 'moved' && { from: PATHS[s.from] as string }),
      ...(has && {
        content:
          s.content === 'chunks'
            ? { chunks: [hashOf('1'), hashOf('2')] }
            : s.content === 'list'
              ? { list: hashOf('list'), count: 4096 }
              : { chunks: s.content === 'empty' ? [] : [hash] }
      }),
      ...(s.cause === 1 && { cause: { kind: 'restore' as const, version: 'aaaaaaaa.1' } }),
      ...(s.cause === 2 && { cause: { kind: 'received' as const, workspace: WORKSPACE, version: 'zzzz2345.2' } }),
      ...(s.cause === 3 && { cause: { kind: 'jupyter-save' as const, user: 'Ana "ü" \n' } })
    };
  });
  return out.sort(compareChanges);
}

/** Any log of two devices over a few paths, names that are not UTF-8 included. */
export const anyLog = (maxLength = 60): fc.Arbitrary<Change[]> => fc.array(step, { maxLength }).map(build);

export const anyPath: fc.Arbitrary<string> = fc.constantFrom(...PATHS, 'never seen');
export const anyFolder: fc.Arbitrary<string | undefined> = fc.constantFrom(
  undefined,
  '',
  'dir',
  'dir/sub',
  'dir2',
  'a.txt',
  'Ünï',
  'dir/\uDCFE',
  'bad\uDCFFname',
  'nowhere'
);

/** One ordinary change; give what matters. */
export function change(seq: number, partial: Partial<Change> & { path: string }, text = `text ${seq}`): Change {
  const kind = partial.kind ?? 'created';
  const hash = hashOf(text);
  return {
    device: 'aaaaaaaa',
    seq,
    kind,
    at: 1_790_000_000_000_000 + seq * 1_000_000,
    hlc: 1_790_000_000_000_000 + seq * 1_000_000,
    type: 'file',
    flags: [],
    ...(kind !== 'deleted' && { size: text.length, hash, content: { chunks: [hash] }, mode: 0o644 }),
    ...partial
  };
}
