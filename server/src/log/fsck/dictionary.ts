/** The dictionary of records, as docs/format.md gives it: line ends of the page left out, `\n` for a line feed. */
export const DICTIONARY = Buffer.from(
  [
    '"flags":["torn","no-content","unreadable"],"from":"","cause":{"kind":"received","workspace":"","version":"',
    '{"kind":"restore"{"kind":"jupyter-save"}"type":"symlink""type":"directory","mode":493{"seq":1,"kind":"deleted","path":"',
    '{"seq":1,"kind":"moved","path":"{"seq":1,"kind":"created","path":"","content":true}\n,"content":{"chunks":["","',
    '{"seq":1,"kind":"modified","path":".csv.json.md.py.ipynb","at":179,"hlc":179,"type":"file","size":1,"hash":"',
    '","previous":"","mode":420,"mtime":179,"content":{"list":"","count":1}}\n'
  ].join('')
);
