/** A result as a Vega-Lite chart, of no more points than a chart can show. */
import type { ArrowTable, Column } from './arrow-table';

export const MARKS = ['bar', 'line', 'point'] as const;
export type Mark = (typeof MARKS)[number];

/** Points up to which each row is drawn as it is. */
const MOST_POINTS = 2000;
/** Steps in which a number or a time is put together when there are more. */
const STEPS = 300;
/** Names of an axis of names. */
const MOST_NAMES = 50;

export interface ChartChoice {
  readonly x: number;
  /** Undefined counts the rows. */
  readonly y: number | undefined;
  readonly mark: Mark;
}

interface Point {
  x: string | number;
  y: number;
}

export interface Chart {
  readonly points: readonly Point[];
  /** Several rows became one point; else each row is one. */
  readonly summed: boolean;
  /** Names that are left out. */
  readonly left: number;
}

const stepped = (column: Column | undefined): boolean => column?.numeric === true || column?.temporal === true;

/** What is likely meant: the first time or name across, the first number upwards. */
export function likelyChoice({ columns }: ArrowTable): ChartChoice {
  const time = columns.findIndex(column => column.temporal);
  const name = columns.findIndex(column => !column.numeric && !column.temporal);
  const x = time >= 0 ? time : name >= 0 ? name : 0;
  const y = columns.findIndex((column, index) => column.numeric && index !== x);
  return { x, y: y < 0 ? undefined : y, mark: time >= 0 && y >= 0 ? 'line' : 'bar' };
}

/** The points of a chart: every row one, or the sums of many. */
export function chartOf(table: ArrowTable, { x, y }: ChartChoice): Chart {
  const valueAt = (row: number): number | undefined => (y === undefined ? 1 : table.number(row, y));
  const { rowCount } = table;
  if (!stepped(table.columns[x])) {
    const sums = new Map<string, number>();
    let rows = 0;
    for (let row = 0; row < rowCount; row++) {
      const value = valueAt(row);
      if (value === undefined) continue;
      const name = (table.text(row, x) ?? 'null').slice(0, 200);
      sums.set(name, (sums.get(name) ?? 0) + value);
      rows++;
    }
    const names = [...sums].map(([name, sum]) => ({ x: name, y: sum }));
    // In the order of the query as long as all of them are shown.
    const shown = names.length <= MOST_NAMES ? names : names.sort((a, b) => b.y - a.y).slice(0, MOST_NAMES);
    return { points: shown, summed: sums.size < rows, left: names.length - shown.length };
  }
  let [low, high] = [Infinity, -Infinity];
  for (let row = 0; row < rowCount; row++) {
    const at = table.number(row, x);
    if (at === undefined) continue;
    low = Math.min(low, at);
    high = Math.max(high, at);
  }
  const points: Point[] = [];
  if (low > high) return { points, summed: false, left: 0 };
  const together = y === undefined || rowCount > MOST_POINTS;
  const width = (high - low) / STEPS;
  const sums = new Map<number, number>();
  for (let row = 0; row < rowCount; row++) {
    const at = table.number(row, x);
    const value = valueAt(row);
    if (at === undefined || value === undefined) continue;
    if (!together) {
      points.push({ x: at, y: value });
      continue;
    }
    const step = width === 0 ? 0 : Math.min(STEPS - 1, Math.floor((at - low) / width));
    sums.set(step, (sums.get(step) ?? 0) + value);
  }
  if (!together) return { points, summed: false, left: 0 };
  for (const step of [...sums.keys()].sort((a, b) => a - b)) {
    points.push({ x: low + step * width, y: sums.get(step) ?? 0 });
  }
  return { points, summed: true, left: 0 };
}

/** Colours and type of the theme. */
export interface ChartStyle {
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  readonly mark: string;
  readonly font: string;
}

/** The chart as Vega-Lite 5. */
export function vegaLite(
  table: ArrowTable,
  choice: ChartChoice,
  chart: Chart,
  style: ChartStyle,
  words: { rows: string; sum: (name: string) => string }
): Record<string, unknown> {
  const across = table.columns[choice.x];
  const upwards = choice.y === undefined ? undefined : table.columns[choice.y];
  const xType = across?.temporal === true ? 'temporal' : across?.numeric === true ? 'quantitative' : 'nominal';
  const yTitle = upwards === undefined ? words.rows : chart.summed ? words.sum(upwards.name) : upwards.name;
  const axis = { labelColor: style.muted, titleColor: style.text, domainColor: style.grid, tickColor: style.grid };
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
    width: 'container',
    height: 'container',
    background: 'transparent',
    autosize: { type: 'fit', contains: 'padding' },
    data: { values: chart.points },
    mark: {
      type: choice.mark,
      color: style.mark,
      tooltip: true,
      ...(choice.mark === 'line' && { point: chart.points.length < 60 })
    },
    encoding: {
      x: {
        field: 'x',
        type: xType,
        title: across?.name ?? '',
        sort: null,
        axis: { labelLimit: 120, labelOverlap: true }
      },
      y: { field: 'y', type: 'quantitative', title: yTitle, axis: { grid: true } }
    },
    config: {
      font: style.font,
      axis: { ...axis, gridColor: style.grid, labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal' },
      view: { stroke: 'transparent' }
    }
  };
}
