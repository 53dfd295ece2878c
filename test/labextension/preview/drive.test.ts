import { expect, test } from '@jest/globals';

import { notebook } from '../../../labextension/preview/drive';

const bytes = (value: unknown): ArrayBuffer => new TextEncoder().encode(JSON.stringify(value)).buffer;

test('a notebook cannot say of itself that its output may run scripts', () => {
  const output = { output_type: 'display_data', metadata: {}, data: { 'text/html': ['<script>', 'steal()</script>'] } };
  const cell = {
    cell_type: 'code',
    execution_count: 1,
    source: ['a\n', 'b'],
    metadata: { trusted: true, collapsed: false },
    outputs: [output]
  };
  const [shown] = notebook(bytes({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [cell] })).cells;
  expect(shown).toEqual({
    ...cell,
    source: 'a\nb',
    metadata: { collapsed: false },
    outputs: [{ ...output, data: { 'text/html': '<script>steal()</script>' } }]
  });
});
