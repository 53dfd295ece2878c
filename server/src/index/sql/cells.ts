/** The cells of a notebook (nbformat 4, and 3 with worksheets) as rows. */
import { readFile, stat } from 'node:fs/promises';
import type { DuckDBValue } from '@duckdb/node-api';
import { SyftError } from '../../core/errors.ts';
import type { ContentFile } from './protocol.ts';

/** Columns of `cells_of`; described in tables.ts. */
export const CELL_COLUMNS =
  'cell INTEGER, cell_id VARCHAR, type VARCHAR, source VARCHAR, execution_count INTEGER, outputs INTEGER, output_types VARCHAR[], output_text VARCHAR';

/** Bytes of a notebook that is parsed whole. */
const LARGEST = 256 << 20;
/** Characters of the text outputs of a cell. */
const OUTPUT_TEXT = 2000;

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A text of nbformat: a string, or an array of lines. */
function joined(value: unknown): string {
  if (typeof value === 'string') return value;
  return Array.isArray(value) ? value.filter(line => typeof line === 'string').join('') : '';
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

function outputTypes(output: Fields): string[] {
  const kind = String(output['output_type'] ?? '');
  return isFields(output['data']) ? Object.keys(output['data']) : [kind];
}

function outputText(output: Fields): string {
  if (output['output_type'] === 'error') return `${String(output['ename'] ?? '')}: ${String(output['evalue'] ?? '')}`;
  const data = isFields(output['data']) ? output['data'] : {};
  return joined(output['text'] ?? data['text/plain']);
}

/** @throws SyftError SQL_INVALID when it is no notebook, or too large. */
export async function cellRows({ file, path, versionId }: ContentFile): Promise<DuckDBValue[][]> {
  const wrong = (why: string): SyftError =>
    new SyftError('SQL_INVALID', `${path} (version ${versionId}) ${why}`, { path });
  if ((await stat(file)).size > LARGEST) throw wrong('is too large to be read by cell.');
  let notebook: unknown;
  try {
    notebook = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new SyftError('SQL_INVALID', `${path} (version ${versionId}) is not a notebook: it is no JSON.`, {
      cause: error,
      path
    });
  }
  if (!isFields(notebook)) throw wrong('is not a notebook.');
  const sheets = list(notebook['worksheets']).filter(isFields);
  if (!Array.isArray(notebook['cells']) && sheets.length === 0) throw wrong('is not a notebook: it has no cells.');
  const cells = [...list(notebook['cells']), ...sheets.flatMap(sheet => list(sheet['cells']))].filter(isFields);
  return cells.map((cell, i) => {
    const outputs = list(cell['outputs']).filter(isFields);
    const count = cell['execution_count'] ?? cell['prompt_number'];
    const isCode = cell['cell_type'] === 'code';
    return [
      i + 1,
      typeof cell['id'] === 'string' ? cell['id'] : null,
      String(cell['cell_type'] ?? ''),
      joined(cell['source'] ?? cell['input']),
      typeof count === 'number' && Number.isInteger(count) && Math.abs(count) < 2 ** 31 ? count : null,
      isCode ? outputs.length : null,
      outputs.flatMap(outputTypes) as unknown as DuckDBValue,
      isCode
        ? outputs
            .map(outputText)
            .filter(text => text !== '')
            .join('\n')
            .slice(0, OUTPUT_TEXT)
        : null
    ];
  });
}
