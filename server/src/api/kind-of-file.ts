/** How a file of a message can be shown, by its name. */
import type { MessageFileDto } from './contract.ts';

const NAMES: Readonly<Record<NonNullable<MessageFileDto['kind']>, readonly string[]>> = {
  notebook: ['ipynb'],
  image: ['png', 'jpg', 'jpeg', 'gif', 'webp', 'bmp', 'svg'],
  table: ['csv', 'tsv', 'parquet', 'xlsx', 'xls', 'arrow', 'feather'],
  text: [
    ...[
      'txt',
      'md',
      'rst',
      'log',
      'tex',
      'bib',
      'json',
      'jsonl',
      'yaml',
      'yml',
      'toml',
      'ini',
      'cfg',
      'xml',
      'html',
      'css'
    ],
    ...['py', 'r', 'jl', 'js', 'ts', 'tsx', 'jsx', 'mjs', 'c', 'h', 'cc', 'cpp', 'hpp', 'rs', 'go', 'java', 'sh', 'sql']
  ],
  other: []
};
const KINDS = new Map(
  Object.entries(NAMES).flatMap(([kind, extensions]) =>
    extensions.map(extension => [extension, kind as NonNullable<MessageFileDto['kind']>] as const)
  )
);

/** @param path As displayed. */
export function kindOfFile(path: string): NonNullable<MessageFileDto['kind']> {
  const extension = /\.([A-Za-z0-9]{1,10})$/.exec(path)?.[1]?.toLowerCase() ?? '';
  return KINDS.get(extension) ?? 'other';
}
