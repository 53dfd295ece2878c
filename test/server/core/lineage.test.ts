/** Which side of two directories that follow each other is the later one: what keeps them from undoing each other's edits. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { relate, type Moment } from '../../../server/src/core/lineage.ts';

/** `X Y` is two states; `X<B2` was received as B's second. Clocks count up from `start`. */
function history(workspace: string, text: string, start = 0): Moment[] {
  return text
    .split(' ')
    .filter(word => word !== '')
    .map((word, i): Moment => {
      const [key = '', from] = word.split('<');
      const cause =
        from === undefined
          ? {}
          : { cause: { workspace: from.slice(0, 1), version: `dev${from.slice(0, 1)}.${from.slice(1)}` } };
      return {
        key: key === '-' ? '' : key,
        hlc: start + i,
        device: `dev${workspace}`,
        seq: i + 1,
        workspace,
        ...cause
      };
    });
}

const table: [name: string, own: string, other: string, relation: string][] = [
  ['nothing on either side', '', '', 'same'],
  ['only they have it', '', 'X', 'ahead'],
  ['only we have it', 'X', '', 'behind'],
  ['both have the same', 'X', 'X', 'same'],
  ['they went on from our state', 'X', 'X Y', 'ahead'],
  ['we went on from theirs', 'X Y', 'X', 'behind'],
  ['both went on from a common state', 'X Y', 'X Z', 'concurrent'],
  ['they are several of our edits late', 'X Y Z W', 'X Y', 'behind'],
  ['they are late, and we went back to an earlier state', 'X Y X', 'X Y', 'behind'],
  ['they deleted what they had from us', 'X', 'X -', 'ahead'],
  ['we deleted what they still have', 'X -', 'X', 'behind'],
  ['they changed it while we went there and back', 'X Y X', 'X Z', 'ahead'],
  ['they received our old state after we had moved on', 'X Y Z', 'X Y<A2', 'behind'],
  ['they received our latest and edited', 'X Y', 'X Y<A2 W', 'ahead'],
  ['they received our old state and edited, while we edited', 'X Y Z', 'X Y<A2 W', 'concurrent'],
  ['we received theirs, and then went back to ours', 'X Y<B2 X', 'X Y', 'behind'],
  ['nothing in common', 'X', 'Y', 'concurrent']
];

describe('relating two histories of a path', () => {
  test.each(table)('%s', (_name, own, other, relation) => {
    expect(relate(history('A', own), history('B', other)).relation).toBe(relation);
  });

  test('the later of two unrelated edits is the same one from both sides', () => {
    const a = history('A', 'X', 5);
    const b = history('B', 'Y', 7);
    expect(relate(a, b)).toEqual({ relation: 'concurrent', newer: 'other' });
    expect(relate(b, a)).toEqual({ relation: 'concurrent', newer: 'own' });
  });
});

const mirror: Record<string, string> = { same: 'same', behind: 'ahead', ahead: 'behind', concurrent: 'concurrent' };

interface Side {
  readonly name: string;
  readonly moments: Moment[];
  readonly skew: number;
}

/** One action in a world of two sides: an edit, or one side receiving what the other has at that time. */
type Act = { readonly side: 0 | 1; readonly edit?: string; readonly tell: boolean };

describe('laws of lineage', () => {
  const act: fc.Arbitrary<Act> = fc.record(
    { side: fc.constantFrom<0 | 1>(0, 1), edit: fc.constantFrom('', 'X', 'Y', 'Z'), tell: fc.boolean() },
    { requiredKeys: ['side', 'tell'] }
  );

  function play(acts: readonly Act[], skews: readonly [number, number], causes: boolean): [Side, Side] {
    const sides: [Side, Side] = [
      { name: 'A', moments: [], skew: skews[0] },
      { name: 'B', moments: [], skew: skews[1] }
    ];
    let clock = 100;
    const append = (side: Side, key: string, cause?: Moment): void => {
      clock += 1;
      const last = side.moments.at(-1);
      side.moments.push({
        key,
        hlc: Math.max((last?.hlc ?? 0) + 1, clock + side.skew),
        device: `dev${side.name}`,
        seq: side.moments.length + 1,
        workspace: side.name,
        ...(cause !== undefined && { cause: { workspace: cause.workspace, version: `${cause.device}.${cause.seq}` } })
      });
    };
    const receive = (side: Side, from: Side, tell: boolean): boolean => {
      const theirs = from.moments.at(-1);
      const lineage = relate(side.moments, from.moments);
      if (theirs === undefined || lineage.relation === 'same' || lineage.relation === 'behind') {
        return false;
      }
      const ours = side.moments.at(-1)?.key ?? '';
      const take = lineage.relation === 'ahead' || (theirs.key !== '' && (ours === '' || lineage.newer === 'other'));
      if (take && ours !== theirs.key) {
        append(side, theirs.key, causes && tell ? theirs : undefined);
      }
      return take;
    };
    for (const { side, edit, tell } of acts) {
      const self = sides[side];
      if (edit !== undefined) {
        if ((self.moments.at(-1)?.key ?? '') !== edit) {
          append(self, edit);
        }
      } else {
        receive(self, sides[side === 0 ? 1 : 0], tell);
      }
    }
    // Everybody stops editing: it must come to rest, and both must have the same.
    for (let round = 0; ; round += 1) {
      const a = receive(sides[0], sides[1], true);
      const b = receive(sides[1], sides[0], true);
      if (!a && !b) {
        break;
      }
      expect(round).toBeLessThan(4);
    }
    return sides;
  }

  test('both sides give mirrored answers', () => {
    const moments = (workspace: string): fc.Arbitrary<Moment[]> =>
      fc
        .array(
          fc.record({ key: fc.constantFrom('', 'X', 'Y', 'Z'), from: fc.option(fc.integer({ min: 1, max: 6 })) }),
          { maxLength: 6 }
        )
        .map(list =>
          list.map(({ key, from }, i): Moment => {
            const other = workspace === 'A' ? 'B' : 'A';
            const cause = from === null ? {} : { cause: { workspace: other, version: `dev${other}.${from}` } };
            return {
              key,
              hlc: i * 2 + (workspace === 'A' ? 0 : 1),
              device: `dev${workspace}`,
              seq: i + 1,
              workspace,
              ...cause
            };
          })
        );
    fc.assert(
      fc.property(moments('A'), moments('B'), (a, b) => {
        const there = relate(a, b);
        const back = relate(b, a);
        expect(back.relation).toBe(mirror[there.relation]);
        if (there.relation === 'concurrent') {
          expect(back.newer).toBe(there.newer === 'own' ? 'other' : 'own');
        }
      }),
      { numRuns: 5000 }
    );
  });

  test.each([
    ['with exact causes and clocks that agree', true, 0],
    ['with causes and clocks a long way apart', true, 1000],
    ['without any causes', false, 0]
  ])('two sides converge and come to rest, %s', (_name, causes, skew) => {
    fc.assert(
      fc.property(
        fc.array(act, { maxLength: 25 }),
        fc.constantFrom<readonly [number, number]>([0, skew], [skew, 0]),
        (acts, skews) => {
          const [a, b] = play(acts, skews, causes);
          expect(a.moments.at(-1)?.key ?? '').toBe(b.moments.at(-1)?.key ?? '');
        }
      ),
      { numRuns: 5000 }
    );
  });
});
