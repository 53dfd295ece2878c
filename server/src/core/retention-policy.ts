/** Retention policies as people write them, on the command line and in `retention.json`, and as the program computes with them. */
import { SyftError } from './errors.ts';

/** Which versions keep their content. Without any rule: all of them, for ever. */
export interface RetentionPolicy {
  /** Every version younger than this, microseconds; `Infinity`: of any age. */
  readonly keepAll?: number;
  /** The newest of each hour, up to this age. */
  readonly hourly?: number;
  /** The newest of each day, up to this age. */
  readonly daily?: number;
  /** The newest of each week, which begins on Monday, up to this age. */
  readonly weekly?: number;
  /** Bytes that the segments of the log may take in all: beyond that the oldest go, whatever the rules above say. */
  readonly budget?: number;
  /** IANA name of the zone whose hours, days and weeks count. */
  readonly timeZone: string;
}

/** A policy as it is written: in JSON, and by the options of the command line. */
export interface PolicyText {
  readonly keepAll?: string | undefined;
  readonly hourly?: string | undefined;
  readonly daily?: string | undefined;
  readonly weekly?: string | undefined;
  readonly budget?: string | number | undefined;
  readonly timeZone?: string | undefined;
}

/** The rules that say how long, from the finest to the coarsest. */
export const SPAN_RULES = ['keepAll', 'hourly', 'daily', 'weekly'] as const;
const RULES: readonly string[] = [...SPAN_RULES, 'budget', 'timeZone'] satisfies (keyof PolicyText)[];

const HOUR_US = 3_600e6;
const SPAN_UNITS: Readonly<Record<string, number>> = {
  h: HOUR_US,
  d: 24 * HOUR_US,
  w: 7 * 24 * HOUR_US,
  y: 365 * 24 * HOUR_US
};
const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40
};

function wrong(where: string, message: string): SyftError {
  return new SyftError('BAD_REQUEST', `${where}: ${message}`);
}

/** `36h`, `7d`, `8w`, `1y` (365 days) or `forever` → microseconds; `undefined` when it is none. */
export function parseSpan(text: string): number | undefined {
  const trimmed = text.trim().toLowerCase();
  if (trimmed === 'forever') return Number.POSITIVE_INFINITY;
  const match = /^(\d{1,6}(?:\.\d{1,3})?)\s*([hdwy])$/.exec(trimmed);
  return match?.[1] === undefined ? undefined : Math.round(Number(match[1]) * (SPAN_UNITS[match[2] ?? ''] ?? 0));
}

/** `5GB` (10^9), `5GiB` (2^30), `500 MB` or a number of bytes → bytes; `undefined` when it is none. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([kmgt]?i?b)?$/.exec(text.trim().toLowerCase());
  const unit = match === null ? undefined : BYTE_UNITS[match[2] ?? 'b'];
  const bytes = unit === undefined ? undefined : Math.round(Number(match?.[1]) * unit);
  return bytes === undefined || !Number.isSafeInteger(bytes) ? undefined : bytes;
}

function checkTimeZone(where: string, zone: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch (error) {
    throw new SyftError('BAD_REQUEST', `${where}: there is no time zone "${zone}"; write UTC or Europe/Berlin.`, {
      cause: error
    });
  }
}

/**
 * Reads a policy.
 *
 * @param value What was written: an object with the members of {@link PolicyText}.
 * @param where Where it stands, for errors: a file, or the command line.
 * @param nameOf How a rule is written there, for errors.
 * @throws SyftError BAD_REQUEST naming the place, the rule and what it takes.
 */
export function parsePolicy(
  value: unknown,
  where: string,
  nameOf: (rule: string) => string = rule => `"${rule}"`
): RetentionPolicy {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(where, 'a policy is an object such as {"keepAll":"7d","daily":"1y"}.');
  }
  const policy: { -readonly [K in keyof RetentionPolicy]: RetentionPolicy[K] } = { timeZone: 'UTC' };
  for (const [rule, text] of Object.entries(value) as [string, unknown][]) {
    const at = `${where}, ${nameOf(rule)}`;
    if (!RULES.includes(rule)) {
      throw wrong(where, `there is no rule ${nameOf(rule)}; the rules are ${RULES.map(nameOf).join(', ')}.`);
    }
    if (text === undefined) continue;
    if (rule === 'timeZone') {
      if (typeof text !== 'string') throw wrong(at, 'takes the name of a time zone such as Europe/Berlin.');
      policy.timeZone = checkTimeZone(at, text);
    } else if (rule === 'budget') {
      const bytes = typeof text === 'number' || typeof text === 'string' ? parseBytes(String(text)) : undefined;
      if (bytes === undefined) {
        throw wrong(at, `takes an amount such as 500MB, 5GB or 5GiB, not ${JSON.stringify(text)}.`);
      }
      policy.budget = bytes;
    } else {
      const span = typeof text === 'string' ? parseSpan(text) : undefined;
      if (span === undefined) {
        throw wrong(at, `takes a time such as 36h, 7d, 8w, 1y or forever, not ${JSON.stringify(text)}.`);
      }
      policy[rule as (typeof SPAN_RULES)[number]] = span;
    }
  }
  return policy;
}

function spanText(us: number): string {
  if (us === Number.POSITIVE_INFINITY) return 'forever';
  for (const unit of ['y', 'w', 'd', 'h'] as const) {
    const count = us / (SPAN_UNITS[unit] as number);
    if (us > 0 && Number.isInteger(count)) return `${count}${unit}`;
  }
  return `${Number((us / HOUR_US).toFixed(3))}h`;
}

/** A policy as it is written. Inverse of {@link parsePolicy}, to a thousandth of an hour. */
export function policyText(policy: RetentionPolicy): PolicyText {
  const text: Record<string, string> = {};
  for (const rule of SPAN_RULES) {
    const span = policy[rule];
    if (span !== undefined) text[rule] = spanText(span);
  }
  if (policy.budget !== undefined) text['budget'] = String(policy.budget);
  return { ...text, timeZone: policy.timeZone };
}

/** True when the policy lets everything be kept: there is nothing to do. */
export function keepsAll(policy: RetentionPolicy): boolean {
  return SPAN_RULES.every(rule => policy[rule] === undefined) && policy.budget === undefined;
}

/** A written policy in words: `keep-all 7d, daily 1y`. */
export function policyWords(text: PolicyText): string {
  const words = [...SPAN_RULES, 'budget' as const].flatMap(rule =>
    text[rule] === undefined ? [] : [`${optionOf(rule)} ${text[rule]}`]
  );
  const zone = text.timeZone === undefined || text.timeZone === 'UTC' ? [] : [`time zone ${text.timeZone}`];
  return words.length === 0 ? 'that keeps everything' : [...words, ...zone].join(', ');
}

/** A rule as the command line writes it, without dashes before. */
export function optionOf(rule: string): string {
  return rule.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
}
