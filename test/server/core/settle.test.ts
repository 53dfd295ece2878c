import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SETTLE_TIMES, SettleQueue } from '../../../server/src/core/settle.ts';

describe('when a written path is looked at', () => {
  test('20 ms after the last write', () => {
    const q = new SettleQueue();
    q.mark('a', 0);
    q.mark('a', 15);
    expect(q.nextDue()).toBe(35);
    expect(q.takeDue(34)).toEqual([]);
    expect(q.takeDue(35)).toEqual(['a']);
    expect(q.size).toBe(0);
  });

  test('at the latest after 250 ms', () => {
    const q = new SettleQueue();
    for (let t = 0; t <= 250; t += 10) q.mark('a', t);
    expect(q.takeDue(250)).toEqual(['a']);
  });

  test('both sides of a rename together', () => {
    const q = new SettleQueue();
    q.mark('a', 0);
    q.mark('b', 4);
    expect(q.takeDue(20)).toEqual(['a', 'b']);
  });

  test('not before the time it was put off to', () => {
    const q = new SettleQueue();
    q.defer('a', 500);
    q.mark('a', 1);
    expect(q.takeDue(480)).toEqual([]);
    expect(q.takeDue(501)).toEqual(['a']);
  });

  test('a path that never rests is looked at ever more seldom, a user who saves by hand at once', () => {
    const q = new SettleQueue();
    const times: number[] = [];
    for (let t = 0; t < 30_000; t += 10) {
      q.mark('log', t);
      if (q.takeDue(t).length > 0) {
        times.push(t);
        q.versioned('log', t);
      }
    }
    const gaps = times.slice(1).map((t, i) => t - (times[i] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(240);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2010);
    expect(gaps.at(-1)).toBeGreaterThan(1500);
    const hand = new SettleQueue();
    for (let t = 0; t < 20_000; t += 500) {
      hand.mark('nb', t);
      expect(hand.takeDue(t + 20)).toEqual(['nb']);
      hand.versioned('nb', t + 20);
    }
  });

  test('whatever the order of writes, the last state is always looked at, and in bounded time', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ path: fc.constantFrom('a', 'b', 'c'), gap: fc.integer({ min: 0, max: 400 }) }), {
          maxLength: 60
        }),
        events => {
          const q = new SettleQueue();
          const lastMark = new Map<string, number>();
          const lastLook = new Map<string, number>();
          const step = (to: number): void => {
            for (let due = q.nextDue(); due !== undefined && due <= to; due = q.nextDue()) {
              for (const path of q.takeDue(due)) {
                lastLook.set(path, due);
                q.versioned(path, due);
              }
            }
          };
          let now = 0;
          for (const { path, gap } of events) {
            now += gap;
            step(now);
            q.mark(path, now);
            lastMark.set(path, now);
          }
          step(now + SETTLE_TIMES.maxInterval + SETTLE_TIMES.maxWait + 1);
          expect(q.size).toBe(0);
          // Looked at up to half a quiet time early, together with others, and never before the mark itself.
          for (const [path, at] of lastMark) expect(lastLook.get(path)).toBeGreaterThanOrEqual(at);
        }
      )
    );
  });
});
