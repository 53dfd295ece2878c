/** What a policy keeps: a user loses exactly what it says, and never the last of a file, a pin, or what another version needs. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Calendar } from '../../../server/src/core/calendar.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { KEPT_WHY, planRetention, type ContentCosts, type VersionColumns } from '../../../server/src/core/retention.ts';
import {
  keepsAll,
  parseBytes,
  parsePolicy,
  parseSpan,
  policyText,
  type RetentionPolicy
} from '../../../server/src/core/retention-policy.ts';

const DAY = 86_400e6;
const us = (iso: string): number => Date.parse(iso) * 1000;

interface V {
  readonly path: number;
  readonly at: number;
  readonly content: number;
  readonly held?: boolean;
}

function columns(rows: readonly V[]): VersionColumns {
  return {
    length: rows.length,
    path: rows.map(row => row.path),
    paths: Math.max(0, ...rows.map(row => row.path + 1)),
    at: rows.map(row => row.at),
    content: rows.map(row => row.content),
    contents: Math.max(0, ...rows.map(row => row.content + 1)),
    held: rows.map(row => Number(row.held ?? false))
  };
}

const kept = (rows: readonly V[], policy: RetentionPolicy, now: number, costs?: ContentCosts): string[] =>
  Array.from(planRetention(columns(rows), policy, now, costs).why, code => KEPT_WHY[code] as string);

describe('what a policy keeps', () => {
  const now = us('2026-11-28T12:00:00Z');
  const one = (times: readonly string[]): V[] => times.map((time, i) => ({ path: 0, at: us(time), content: i }));

  test('without a rule everything is kept', () => {
    expect(kept(one(['2001-01-01T00:00:00Z', '2002-01-01T00:00:00Z']), { timeZone: 'UTC' }, now)).toEqual([
      'no-rule',
      'last'
    ]);
  });

  test('all of some days, then one an hour, a day, a week', () => {
    const rows = one([
      '2026-06-03T10:00:00Z', // of the week of Monday 1 June, not its newest
      '2026-06-05T10:00:00Z', // its newest
      '2026-11-10T10:10:00Z', // of a day, not its newest
      '2026-11-10T23:10:00Z', // its newest
      '2026-11-27T10:10:00Z', // of an hour, not its newest
      '2026-11-27T10:50:00Z', // its newest
      '2026-11-28T10:10:00Z',
      '2026-11-28T10:20:00Z',
      '2026-11-28T10:30:00Z'
    ]);
    const policy = parsePolicy({ keepAll: '12h', hourly: '3d', daily: '30d', weekly: '1y' }, 'test');
    expect(kept(rows, policy, now)).toEqual([
      'none',
      'weekly',
      'none',
      'daily',
      'none',
      'hourly',
      'keepAll',
      'keepAll',
      'last'
    ]);
  });

  test('the last content of every path, pins, and what another version needs are never dropped', () => {
    const rows: V[] = [
      { path: 0, at: 1, content: 0 }, // the same content as the pinned one of another file
      { path: 0, at: 2, content: 1 },
      { path: 0, at: 3, content: 2 },
      { path: 1, at: 4, content: 0, held: true },
      { path: 1, at: 5, content: 3 }
    ];
    expect(kept(rows, parsePolicy({ keepAll: '0h' }, 'test'), now)).toEqual(['shared', 'none', 'last', 'held', 'last']);
    const costs: ContentCosts = { chunksOf: content => [content], chunkBytes: [10, 10, 10, 10], fixedBytes: 5 };
    const plan = planRetention(columns(rows), parsePolicy({ budget: 1 }, 'test'), now, costs);
    expect(plan.budget).toEqual({ bytes: 35, limit: 1, met: false });
    expect([...plan.dropped]).toEqual([0, 1, 0, 0]);
  });

  test('a budget takes the oldest first, and no more than it must', () => {
    const rows = [0, 1, 2, 3, 4].map(i => ({ path: 0, at: 10 - i, content: i }));
    const costs: ContentCosts = { chunksOf: content => [content], chunkBytes: [10, 10, 10, 10, 10], fixedBytes: 5 };
    expect(kept(rows, parsePolicy({ budget: '36b' }, 'test'), now, costs)).toEqual([
      'no-rule',
      'no-rule',
      'none',
      'none',
      'last'
    ]);
  });

  test('days are those of the policy’s time zone', () => {
    // 23:30 and 00:30 in Berlin, one day in UTC.
    const rows = one(['2026-01-10T22:30:00Z', '2026-01-10T23:30:00Z', '2026-01-20T12:00:00Z']);
    expect(kept(rows, parsePolicy({ daily: 'forever' }, 'test'), now)).toEqual(['none', 'daily', 'last']);
    expect(kept(rows, parsePolicy({ daily: 'forever', timeZone: 'Europe/Berlin' }, 'test'), now)).toEqual([
      'daily',
      'daily',
      'last'
    ]);
  });
});

describe('the calendar', () => {
  test('an hour that the clocks repeat is two hours, and still one day', () => {
    const berlin = new Calendar('Europe/Berlin');
    const [summer, winter] = [us('2026-10-25T00:30:00Z'), us('2026-10-25T01:30:00Z')];
    expect(berlin.hour(summer)).not.toBe(berlin.hour(winter));
    expect(berlin.day(summer)).toBe(berlin.day(winter));
  });

  test('hours of zones that are not whole hours from UTC begin where their clocks do', () => {
    const calcutta = new Calendar('Asia/Kolkata');
    expect(calcutta.hour(us('2026-01-01T00:29:00Z'))).not.toBe(calcutta.hour(us('2026-01-01T00:31:00Z')));
    expect(calcutta.hour(us('2026-01-01T00:31:00Z'))).toBe(calcutta.hour(us('2026-01-01T01:29:00Z')));
  });

  test('weeks begin on Monday', () => {
    const utc = new Calendar('UTC');
    expect(utc.week(us('2026-11-29T23:59:59Z'))).not.toBe(utc.week(us('2026-11-30T00:00:00Z')));
    expect(utc.week(us('2026-11-23T00:00:00Z'))).toBe(utc.week(us('2026-11-29T23:59:59Z')));
  });

  test('an hour lies within one day, and a day within one week', () => {
    const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/St_Johns', 'Pacific/Apia');
    const time = fc.integer({ min: 0, max: 2_000_000_000 }).map(s => s * 1e6);
    fc.assert(
      fc.property(zone, time, fc.integer({ min: 0, max: 7200 }), (name, a, seconds) => {
        const calendar = new Calendar(name);
        const b = a + seconds * 1e6;
        if (calendar.hour(a) === calendar.hour(b)) expect(calendar.day(a)).toBe(calendar.day(b));
        if (calendar.day(a) === calendar.day(b)) expect(calendar.week(a)).toBe(calendar.week(b));
      }),
      { numRuns: 300 }
    );
  });
});

describe('laws', () => {
  const NOW = 400 * DAY;
  const versions = fc
    .array(
      fc.record({
        path: fc.nat(3),
        at: fc.oneof(
          fc.integer({ min: 0, max: 410 * 24 * 6 }).map(n => n * 600e6),
          fc.integer({ min: 395 * 24 * 6, max: 400 * 24 * 6 }).map(n => n * 600e6)
        ),
        content: fc.nat(12),
        held: fc.integer({ min: 0, max: 9 }).map(n => n === 0)
      }),
      { maxLength: 60 }
    )
    .map(rows => rows as V[]);
  const span = fc.option(fc.constantFrom(0, DAY / 24, DAY, 3 * DAY, 30 * DAY, 365 * DAY, Number.POSITIVE_INFINITY), {
    nil: undefined
  });
  const rules = fc
    .record({
      keepAll: span,
      hourly: span,
      daily: span,
      weekly: span,
      zone: fc.constantFrom('UTC', 'America/New_York')
    })
    .map(({ zone, ...spans }) => ({ ...defined(spans), timeZone: zone }));
  const defined = (spans: Record<string, number | undefined>): object =>
    Object.fromEntries(Object.entries(spans).filter(([, value]) => value !== undefined));
  const costs: ContentCosts = {
    chunksOf: content => [content % 5, content, content],
    chunkBytes: Array.from({ length: 13 }, (_, i) => 7 * i + 3),
    fixedBytes: 40
  };
  const budget = fc.option(fc.nat(500), { nil: undefined });

  const left = (rows: readonly V[], why: Uint8Array): V[] => rows.filter((_, i) => why[i] !== 0);

  test('pruning twice is pruning once, and what is kept was there', () => {
    fc.assert(
      fc.property(versions, rules, budget, (rows, rule, limit) => {
        const policy = { ...rule, ...(limit !== undefined && { budget: limit }) };
        const first = planRetention(columns(rows), policy, NOW, costs);
        const rest = left(rows, first.why);
        const second = planRetention(columns(rest), policy, NOW, costs);
        expect(left(rest, second.why)).toEqual(rest);
      }),
      { numRuns: 500 }
    );
  });

  test('rules that reach further keep all that lesser ones keep; so does a larger budget', () => {
    fc.assert(
      fc.property(versions, rules, rules, fc.nat(500), fc.nat(500), (rows, a, b, x, y) => {
        const wide: RetentionPolicy = {
          ...a,
          ...defined(
            Object.fromEntries(
              (['keepAll', 'hourly', 'daily', 'weekly'] as const).map(rule => [
                rule,
                (a as RetentionPolicy)[rule] === undefined && (b as RetentionPolicy)[rule] === undefined
                  ? undefined
                  : Math.max((a as RetentionPolicy)[rule] ?? 0, (b as RetentionPolicy)[rule] ?? 0)
              ])
            )
          ),
          timeZone: a.timeZone
        };
        // Without any rule all is kept: that is wider than every rule, and left out here.
        if (keepsAll(a)) return;
        const less = planRetention(columns(rows), a, NOW);
        const more = planRetention(columns(rows), wide, NOW);
        for (const [i, why] of less.why.entries()) if (why !== 0) expect(more.why[i]).not.toBe(0);
        const small = planRetention(columns(rows), { ...a, budget: Math.min(x, y) }, NOW, costs);
        const large = planRetention(columns(rows), { ...a, budget: Math.max(x, y) }, NOW, costs);
        for (const [i, why] of small.why.entries()) if (why !== 0) expect(large.why[i]).not.toBe(0);
      }),
      { numRuns: 500 }
    );
  });

  test('whatever the policy: the last of each path, what is held, and all of a content or nothing of it', () => {
    fc.assert(
      fc.property(versions, rules, budget, (rows, rule, limit) => {
        const policy = { ...rule, ...(limit !== undefined && { budget: limit }) };
        const plan = planRetention(columns(rows), policy, NOW, costs);
        rows.forEach((row, i) => {
          if (row.held === true || !rows.slice(i + 1).some(later => later.path === row.path)) {
            expect(plan.why[i]).not.toBe(0);
          }
          expect(plan.why[i] === 0).toBe(plan.dropped[row.content] === 1);
        });
        if (plan.budget?.met === true) expect(plan.budget.bytes).toBeLessThanOrEqual(plan.budget.limit);
        if (plan.budget !== undefined) {
          const chunks = new Set(left(rows, plan.why).flatMap(row => Array.from(costs.chunksOf(row.content))));
          const bytes = [...chunks].reduce((sum, chunk) => sum + (costs.chunkBytes[chunk] ?? 0), costs.fixedBytes);
          expect(plan.budget.bytes).toBe(bytes);
        }
      }),
      { numRuns: 500 }
    );
  });
});

describe('a policy as it is written', () => {
  test('spans and amounts', () => {
    expect(parseSpan('36h')).toBe(1.5 * DAY);
    expect(parseSpan('8 w')).toBe(56 * DAY);
    expect(parseSpan('1y')).toBe(365 * DAY);
    expect(parseSpan('forever')).toBe(Number.POSITIVE_INFINITY);
    for (const text of ['', '7', 'd', '-1d', '7m', '1e3d', 'ever']) expect(parseSpan(text)).toBeUndefined();
    expect(parseBytes('5GB')).toBe(5e9);
    expect(parseBytes('1.5 gib')).toBe(1.5 * 2 ** 30);
    expect(parseBytes('12')).toBe(12);
    for (const text of ['', 'GB', '-5GB', '5XB', '99999999TB']) expect(parseBytes(text)).toBeUndefined();
  });

  test('reads back what it writes', () => {
    const policy = parsePolicy(
      { keepAll: '7d', hourly: '36h', daily: '1y', weekly: 'forever', budget: '5GB', timeZone: 'Europe/Berlin' },
      'test'
    );
    expect(policyText(policy)).toEqual({
      keepAll: '1w',
      hourly: '36h',
      daily: '1y',
      weekly: 'forever',
      budget: '5000000000',
      timeZone: 'Europe/Berlin'
    });
    expect(parsePolicy(policyText(policy), 'test')).toEqual(policy);
  });

  test.each([
    [{ hourly: '30' }, 'retention.json, "hourly": takes a time such as 36h, 7d, 8w, 1y or forever, not "30".'],
    [{ weekly: 3 }, 'retention.json, "weekly": takes a time such as 36h, 7d, 8w, 1y or forever, not 3.'],
    [{ budget: 'lots' }, 'retention.json, "budget": takes an amount such as 500MB, 5GB or 5GiB, not "lots".'],
    [{ timeZone: 'Mars' }, 'retention.json, "timeZone": there is no time zone "Mars"; write UTC or Europe/Berlin.'],
    [{ monthly: '1y' }, 'retention.json: there is no rule "monthly"; the rules are'],
    [[], 'retention.json: a policy is an object such as']
  ])('%j is refused, and it is said what is wrong where', (value, message) => {
    let error: unknown;
    try {
      parsePolicy(value, 'retention.json');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SyftError);
    expect((error as SyftError).code).toBe('BAD_REQUEST');
    expect((error as SyftError).message).toContain(message);
  });
});
