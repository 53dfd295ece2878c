/** `usage`: what is eating the history. */
import { isoMicros } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { baseName, displayPath, parentOf } from '../core/path-name.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { Inventory } from '../log/inventory.ts';
import { usageOf, type UsageRow } from '../log/usage.ts';
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

const KEYS: Readonly<Record<string, (inventory: Inventory) => (version: number) => string>> = {
  path: inventory => version => displayPath(inventory.path(version)),
  folder: inventory => version => displayPath(parentOf(inventory.path(version))) || '.',
  type: inventory => version => displayPath(extensionOf(inventory.path(version))),
  day: inventory => version => isoMicros(inventory.versionAt.at(version)).slice(0, 10),
  version: inventory => version => inventory.versionId(version)
};

function tableLine(row: Omit<UsageRow, 'contentBytes'>): string {
  const sizes = [row.storedBytes, row.aloneBytes, row.sharedBytes].map(bytes => readableSize(bytes).padStart(10));
  return `${sizes.join('')}${String(row.versions).padStart(10)}  ${printable(row.key)}\n`;
}

export async function usageCommand(context: CommandContext): Promise<number> {
  const { invocation, output, logDir, signal } = context;
  const by = invocation.values.get('by') ?? 'path';
  const keys = Object.hasOwn(KEYS, by) ? KEYS[by] : undefined;
  if (keys === undefined) {
    throw new SyftError('BAD_REQUEST', `--by takes one of ${Object.keys(KEYS).join(', ')}, not "${by}".`);
  }
  const limit = wholeNumber(invocation, 'limit') ?? (output.json ? Number.POSITIVE_INFINITY : SHOWN);
  const inventory = await Inventory.read(logDir, { signal, keys: await context.keysOf(logDir) });
  try {
    const usage = usageOf(inventory, keys(inventory));
    const shown = usage.rows.slice(0, limit);
    if (output.json) {
      const name = by === 'version' ? 'versionId' : by;
      for (const { key, ...row } of shown) {
        await output.write(jsonLine({ [name]: key, ...row }));
      }
      const { storedBytes, otherBytes } = usage;
      await output.write(jsonLine({ total: { rows: usage.rows.length, storedBytes, otherBytes } }));
      return 0;
    }
    const heads = ['stored', 'freed', 'shared'].map(head => head.padStart(10)).join('');
    await output.write(`${heads}${'versions'.padStart(10)}  ${by}\n`);
    for (const row of shown) await output.write(tableLine(row));
    const rest = usage.rows.length - shown.length;
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
