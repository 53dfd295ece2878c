/** @jest-environment jsdom */
import { expect, test } from '@jest/globals';

import { StillSanitizer } from '../../../labextension/message/still-sanitizer';

/** What JupyterLab's own lets through is up to its settings: here all of it. */
const sanitizer = new StillSanitizer({ sanitize: dirty => dirty });

test.each([
  ['<img src="https://tracker.example/a.png" alt="a">', '<img alt="a">'],
  ['<img src="//tracker.example/a.png">', '<img>'],
  ['<img src="/api/shutdown">', '<img>'],
  ['<img srcset="https://tracker.example/a.png 2x">', '<img>'],
  ['<video poster="https://tracker.example/a.png"></video>', '<video></video>'],
  ['<table background="https://tracker.example/a.png"></table>', '<table></table>'],
  ['<p style="background: url(https://tracker.example/a.png)">a</p>', '<p>a</p>'],
  ['<p style="background: u\\72l(https://tracker.example/a.png)">a</p>', '<p>a</p>'],
  ['<p><link rel="stylesheet" href="https://tracker.example/a.css">a</p>', '<p>a</p>'],
  ['<style>@import "https://tracker.example/a.css"</style><b>a</b>', '<b>a</b>'],
  ['<a data-commandlinker-command="filebrowser:delete" href="#">a</a>', '<a href="#">a</a>']
])('%s fetches and runs nothing', (dirty, clean) => {
  expect(sanitizer.sanitize(dirty)).toBe(clean);
});

test('what the file brings with it stays', () => {
  const inside =
    '<p style="color: red"><img src="data:image/png;base64,AAAA"><img src="attachment:plot.png"> <a href="https://a.example">a</a></p>';
  expect(sanitizer.sanitize(inside)).toBe(inside);
});
