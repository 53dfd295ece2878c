/** Moments as people write them: ISO 8601, `2026-11-01 14:32`, `10m`/`2h`/`3d` ago, `yesterday`, `now`. */

const UNIT_US: Record<string, number> = { s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6, w: 7 * 86_400e6 };
const RELATIVE = /^(\d{1,9}(?:\.\d{1,6})?)\s*(s|m|h|d|w)(?:\s+ago)?$/i;
const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2})?$/i;

function validCalendar(y: number, mo: number, d: number, h: number, mi: number, s: number): boolean {
  const date = new Date(Date.UTC(y, mo - 1, d));
  return (
    date.getUTCFullYear() === y &&
    date.getUTCMonth() === mo - 1 &&
    date.getUTCDate() === d &&
    h < 24 &&
    mi < 60 &&
    s < 61
  );
}

/**
 * @param text What the person wrote. A time without a zone is local time; a relative time counts back from `nowUs`;
 *   `yesterday` is the same time of day one day before.
 * @param nowUs The present, microseconds since the epoch.
 * @returns Microseconds since the epoch, or `undefined` when the text is not a moment.
 */
export function parseMoment(text: string, nowUs: number): number | undefined {
  const trimmed = text.trim();
  const word = trimmed.toLowerCase();
  if (word === 'now') return nowUs;
  if (word === 'yesterday') return nowUs - 86_400e6;
  if (word === 'today') {
    const midnight = new Date(nowUs / 1000);
    midnight.setHours(0, 0, 0, 0);
    return midnight.getTime() * 1000;
  }
  const relative = RELATIVE.exec(trimmed);
  if (relative?.[1] !== undefined && relative[2] !== undefined) {
    return Math.round(nowUs - Number(relative[1]) * (UNIT_US[relative[2].toLowerCase()] ?? 0));
  }
  const date = DATE.exec(trimmed);
  if (date === null) return undefined;
  const [y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0] = date.slice(1, 7).map(part => Number(part ?? 0));
  if (!validCalendar(y, mo, d, h, mi, s)) return undefined;
  const fraction = Number((date[7] ?? '').padEnd(6, '0').slice(0, 6));
  const zone = date[8];
  let ms: number;
  if (zone === undefined) {
    ms = new Date(y, mo - 1, d, h, mi, s).getTime();
  } else {
    const sign = zone.startsWith('-') ? -1 : 1;
    const digits = zone.replace(/[^0-9]/g, '');
    const offset =
      zone.toUpperCase() === 'Z' ? 0 : sign * (Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2, 4)));
    ms = Date.UTC(y, mo - 1, d, h, mi, s) - offset * 60_000;
  }
  return ms * 1000 + fraction;
}
