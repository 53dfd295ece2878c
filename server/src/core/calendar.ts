/** Hours, days and weeks of a time zone, as numbers that are equal for moments in the same one. */

const MINUTE_US = 60e6;
const HOUR_US = 60 * MINUTE_US;
const DAY_US = 24 * HOUR_US;
/** No zone has ever changed its offset but on a quarter of an hour, in the times that file systems know. */
const QUARTER_US = 15 * MINUTE_US;

/** Which hour, day and week a moment lies in. */
export class Calendar {
  readonly #format: Intl.DateTimeFormat;
  /** Quarter of an hour since the epoch → offset of local time from UTC, microseconds. */
  readonly #offsets = new Map<number, number>();

  /** @param timeZone IANA name. Throws a RangeError when there is none of that name. */
  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      era: 'narrow',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric'
    });
  }

  #offset(us: number): number {
    const quarter = Math.floor(us / QUARTER_US);
    let offset = this.#offsets.get(quarter);
    if (offset === undefined) {
      const ms = (quarter * QUARTER_US) / 1000;
      const part: Record<string, number> = {};
      for (const { type, value } of this.#format.formatToParts(ms)) part[type] = Number(value);
      const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
      offset = (Date.UTC(year, month - 1, day, hour, minute, second) - ms) * 1000;
      this.#offsets.set(quarter, offset);
    }
    return offset;
  }

  /** Hour of real time: one that the clocks repeat in autumn is two. */
  hour(us: number): number {
    const offset = this.#offset(us);
    // Zones whose offset is not whole hours begin their hours in between.
    const shift = ((offset % HOUR_US) + HOUR_US) % HOUR_US;
    return Math.floor((us + shift) / HOUR_US) * HOUR_US - shift;
  }

  /** Calendar day, counted from 1970-01-01. */
  day(us: number): number {
    return Math.floor((us + this.#offset(us)) / DAY_US);
  }

  /** Week from Monday to Sunday. 1970-01-01 was a Thursday. */
  week(us: number): number {
    return Math.floor((this.day(us) + 3) / 7);
  }
}
