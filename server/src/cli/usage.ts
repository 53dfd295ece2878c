/** `usage`: what is eating the history. */
import { isoMicros } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { baseName, displayPath, parentOf } from '../core/path-name.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { Inventory } from '../log/inventory.ts';
import { byPath, groupedBy, usageOf, type Grouping, type UsageRow } from '../log/usage.ts';
import { wholeNumber } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

/** Lines shown to people when no limit is given. */
const SHOWN = 20;

function extensionOf(path: string): string {
  const name = baseName(path);
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(dot).toLowerCase() : '(none)';
}

const GROUPINGS: Readonly<Record<string, (inventory: Inventory) => Grouping>> = {
  path: byPath,
  folder: inventory => groupedBy(version => displayPath(parentOf(inventory.path(version))) || '.'),
  type: inventory => groupedBy(version => displayPath(extensionOf(inventory.path(version)))),
  day: inventory => groupedBy(version => isoMicros(inventory.versionAt.at(version)).slice(0, 10)),
  version: inventory => ({ of: version => version, key: version => inventory.versionId(version) })
};

function tableLine(row: Omit<UsageRow, 'contentBytes'>): string {
  const sizes = [row.storedBytes, row.aloneBytes, row.sharedBytes].map(bytes => readableSize(bytes).padStart(10));
  return `${sizes.join('')}${String(row.versions).padStart(10)}  ${printable(row.key)}\n`;
}

function* first(rows: Iterable<UsageRow>, most: number): Generator<UsageRow> {
  let left = most;
  for (const row of rows) {
    if (left <= 0) return;
    left -= 1;
    yield row;
  }
}

export async function usageCommand(context: CommandContext): Promise<number> {
  const { invocation, output, logDir, signal } = context;
  const by = invocation.values.get('by') ?? 'path';
  const grouping = Object.hasOwn(GROUPINGS, by) ? GROUPINGS[by] : undefined;
  if (grouping === undefined) {
    throw new SyftError('BAD_REQUEST', `--by takes one of ${Object.keys(GROUPINGS).join(', ')}, not "${by}".`);
  }
  const limit = wholeNumber(invocation, 'limit') ?? (output.json ? Number.POSITIVE_INFINITY : SHOWN);
  const inventory = await Inventory.read(logDir, { signal, keys: await context.keysOf(logDir) });
  try {
    const usage = usageOf(inventory, grouping(inventory));
    if (output.json) {
      const name = by === 'version' ? 'versionId' : by;
      for (const { key, ...row } of first(usage.rows, limit)) {
        await output.write(jsonLine({ [name]: key, ...row }));
        if (output.gone) break;
      }
      const { storedBytes, otherBytes } = usage;
      await output.write(jsonLine({ total: { rows: usage.rows.length, storedBytes, otherBytes } }));
      return 0;
    }
    const heads = ['stored', 'freed', 'shared'].map(head => head.padStart(10)).join('');
    await output.write(`${heads}${'versions'.padStart(10)}  ${by}\n`);
    for (const row of first(usage.rows, limit)) await output.write(tableLine(row));
    const rest = usage.rows.length - limit;
    if (rest > 0) await output.write(`${' '.repeat(40)}  … ${rest} more\n`);
    await output.write(
      `${readableSize(usage.storedBytes)} of contents, ${readableSize(usage.otherBytes)} of records and the like. ` +
        '"freed": if this alone went. Chunks that several need are shared, and split in "stored".\n'
    );
    return 0;
  } finally {
    inventory.close();
  }
}
