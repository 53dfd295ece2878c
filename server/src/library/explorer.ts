/**
 * The interactive explorer in a terminal: files → versions → content, restore, statistics. Draws whole screens with plain
 * ANSI on any pair of streams; keys are arrows or vi letters, so it works over the poorest connection.
 */
import { emitKeypressEvents } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { ChangeJson } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { cutToWidth, middleEllipsis, padToWidth, printable, readableSize } from './terminal-text.ts';
import { textOf } from './text-content.ts';
import type { LoggedFile, LogStorage } from './log-storage.ts';

interface TerminalIn extends Readable {
  isTTY?: boolean;
  setRawMode?(on: boolean): unknown;
}

interface TerminalOut extends Writable {
  columns?: number;
  rows?: number;
}

export interface ExplorerOptions {
  readonly input?: TerminalIn;
  readonly output?: TerminalOut;
  /**
   * Puts a version back and says in one line what was done. Without it the explorer restores beside the original, under
   * `<name>.restored_<version id>`.
   */
  readonly restore?: (version: string, asCopy: boolean) => Promise<string>;
  /** Ends the explorer; the terminal is put back as it was. */
  readonly signal?: AbortSignal;
}

interface Key {
  readonly name?: string;
  readonly ctrl?: boolean;
  readonly sequence?: string;
}

type Screen =
  | { readonly kind: 'files' }
  | { readonly kind: 'versions'; readonly path: string; readonly history: readonly ChangeJson[] }
  | { readonly kind: 'content'; readonly title: string; readonly lines: readonly string[] }
  | { readonly kind: 'stats'; readonly title: string; readonly lines: readonly string[] };

interface Place {
  readonly screen: Screen;
  cursor: number;
  top: number;
}

const PREVIEW_LIMIT = 2 << 20;

function localTime(iso: string): string {
  const date = new Date(iso);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/**
 * The explorer over one log.
 *
 * @example
 * await new LogExplorer(new LogStorage('./my_project_log')).run();
 */
export class LogExplorer {
  readonly #storage: LogStorage;
  readonly #input: TerminalIn;
  readonly #output: TerminalOut;
  readonly #restore: (version: string, asCopy: boolean) => Promise<string>;
  #files: LoggedFile[] = [];
  #shown: LoggedFile[] | undefined;
  #interrupted = false;
  readonly #signal: AbortSignal | undefined;
  #filter = '';
  #typing = false;
  #message = '';
  #asking: { readonly question: string; readonly yes: () => Promise<string> } | undefined;
  #stack: Place[] = [];

  constructor(storage: LogStorage, options: ExplorerOptions = {}) {
    this.#storage = storage;
    this.#input = options.input ?? process.stdin;
    this.#output = options.output ?? process.stdout;
    this.#signal = options.signal;
    this.#restore =
      options.restore ??
      (async version => {
        const found = await storage.getVersion(version);
        const target = `${storage.watchPath}/${found.path}.restored_${version}`;
        await storage.restoreVersion(version, target);
        return `Restored to ${target}`;
      });
  }

  /** Runs until the person quits (`q`, Ctrl-D), interrupts (Ctrl-C) or the input ends. */
  async run(): Promise<'quit' | 'interrupted'> {
    await this.#reload();
    this.#stack = [{ screen: { kind: 'files' }, cursor: 0, top: 0 }];
    const input = this.#input;
    emitKeypressEvents(input);
    input.setRawMode?.(true);
    input.resume();
    // Its own screen, no cursor, and no wrapping: a line that is too long is cut, not continued.
    this.#output.write('\u001b[?1049h\u001b[?25l\u001b[?7l');
    const keys: Key[] = [];
    let wake: (() => void) | undefined;
    let ended = false;
    const onKey = (text: string | undefined, key: Key | undefined): void => {
      keys.push({ ...key, ...(text !== undefined && { sequence: text }) });
      wake?.();
    };
    const onEnd = (): void => {
      this.#interrupted ||= this.#signal?.aborted === true;
      ended = true;
      wake?.();
    };
    const onResize = (): void => this.#draw();
    input.on('keypress', onKey);
    input.on('end', onEnd).on('close', onEnd).on('error', onEnd);
    this.#output.on('error', onEnd);
    this.#signal?.addEventListener('abort', onEnd);
    if (this.#signal?.aborted === true) onEnd();
    this.#output.on('resize', onResize);
    try {
      this.#draw();
      for (;;) {
        const key = keys.shift();
        if (key !== undefined && this.#signal?.aborted !== true) {
          if (!(await this.#press(key))) return this.#interrupted ? 'interrupted' : 'quit';
          // Keys that came meanwhile (a paste, a held arrow) are drawn once.
          if (keys.length === 0) this.#draw();
        } else if (ended) {
          return this.#interrupted ? 'interrupted' : 'quit';
        } else {
          await new Promise<void>(resolve => (wake = resolve));
          wake = undefined;
        }
      }
    } finally {
      input.off('keypress', onKey);
      input.off('end', onEnd).off('close', onEnd).off('error', onEnd);
      this.#signal?.removeEventListener('abort', onEnd);
      this.#output.off('resize', onResize);
      input.setRawMode?.(false);
      input.pause();
      this.#output.write('\u001b[?7h\u001b[?25h\u001b[?1049l');
      this.#output.off('error', onEnd);
    }
  }

  get #place(): Place {
    return this.#stack.at(-1) as Place;
  }

  #shownFiles(): LoggedFile[] {
    if (this.#shown === undefined) {
      const needle = this.#filter.toLowerCase();
      this.#shown = needle === '' ? this.#files : this.#files.filter(file => file.path.toLowerCase().includes(needle));
    }
    return this.#shown;
  }

  /** Reads what was recorded since. */
  async #reload(): Promise<void> {
    this.#files = await this.#storage.listFiles();
    this.#shown = undefined;
  }

  async #refresh(): Promise<void> {
    await this.#reload();
    const place = this.#place;
    if (place.screen.kind !== 'versions') return;
    const { path } = place.screen;
    const history = await this.#storage.getFileHistory(`${this.#storage.watchPath}/${path}`);
    this.#stack[this.#stack.length - 1] = { ...place, screen: { kind: 'versions', path, history } };
  }

  #length(): number {
    const screen = this.#place.screen;
    if (screen.kind === 'files') return this.#shownFiles().length;
    return screen.kind === 'versions' ? screen.history.length : screen.lines.length;
  }

  /** One key. False: quit. */
  async #press(key: Key): Promise<boolean> {
    const name = key.name ?? key.sequence ?? '';
    this.#message = '';
    if (key.ctrl === true && name === 'c') {
      this.#interrupted = true;
      return false;
    }
    if (key.ctrl === true && name === 'd') return false;
    if (this.#asking !== undefined) {
      const { yes } = this.#asking;
      this.#asking = undefined;
      if (name === 'y') {
        await this.#attempt(async () => {
          const done = await yes();
          await this.#refresh();
          this.#message = done;
        });
      } else this.#message = 'Nothing was changed.';
      return true;
    }
    if (this.#typing) {
      this.#type(key, name);
      return true;
    }
    const place = this.#place;
    const page = Math.max(1, (this.#output.rows ?? 24) - 4);
    const moves: Record<string, number> = { up: -1, k: -1, down: 1, j: 1, pageup: -page, pagedown: page, space: page };
    const last = Math.max(0, this.#length() - 1);
    const move = moves[name];
    if (move !== undefined) place.cursor = Math.min(last, Math.max(0, place.cursor + move));
    else if (name === 'home' || key.sequence === 'g') place.cursor = 0;
    else if (name === 'end' || key.sequence === 'G') place.cursor = last;
    else if (name === 'q' && key.ctrl !== true) return this.#back(true);
    else if (name === 'escape' || name === 'left' || name === 'h' || name === 'backspace') this.#back(false);
    else if (name === 'return' || name === 'enter' || name === 'right' || name === 'l') {
      await this.#attempt(() => this.#open());
    } else if (name === 'u') await this.#attempt(() => this.#refresh());
    else if (name === 's' && place.screen.kind !== 'stats') await this.#attempt(() => this.#stats());
    else if (key.sequence === '/' && place.screen.kind === 'files') this.#typing = true;
    else if (name === 'r') this.#askRestore(key.sequence === 'R');
    return true;
  }

  #type(key: Key, name: string): void {
    const place = this.#place;
    if (name === 'escape') {
      this.#filter = '';
      this.#typing = false;
    } else if (name === 'return' || name === 'enter') {
      this.#typing = false;
    } else if (name === 'backspace') {
      this.#filter = this.#filter.slice(0, -1);
    } else if (key.sequence !== undefined && key.ctrl !== true && printable(key.sequence) === key.sequence) {
      this.#filter += key.sequence;
    }
    this.#shown = undefined;
    place.cursor = 0;
    place.top = 0;
  }

  #back(quit: boolean): boolean {
    if (this.#stack.length > 1) {
      this.#stack.pop();
      return true;
    }
    if (this.#filter !== '' && !quit) {
      this.#filter = '';
      this.#shown = undefined;
    }
    return !quit;
  }

  async #attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof SyftError)) throw error;
      this.#message = `${error.message} [${error.code}]`;
    }
  }

  async #open(): Promise<void> {
    const { screen, cursor } = this.#place;
    if (screen.kind === 'files') {
      const file = this.#shownFiles()[cursor];
      if (file === undefined) return;
      const history = await this.#storage.getFileHistory(`${this.#storage.watchPath}/${file.path}`);
      this.#push({ kind: 'versions', path: file.path, history });
    } else if (screen.kind === 'versions') {
      const version = screen.history[cursor];
      if (version === undefined) return;
      this.#push({
        kind: 'content',
        title: `${version.path} at ${localTime(version.at)}`,
        lines: await this.#content(version)
      });
    }
  }

  #push(screen: Screen): void {
    this.#stack.push({ screen, cursor: 0, top: 0 });
  }

  async #content(version: ChangeJson): Promise<string[]> {
    if ((version.size ?? 0) > PREVIEW_LIMIT) {
      return [`${readableSize(version.size ?? 0)}: too large to show here. Restore it to look at it.`];
    }
    const bytes = await this.#storage.readVersion(version.versionId);
    const text = textOf(bytes);
    return text === undefined ? [`${readableSize(bytes.length)} of binary content.`] : text.split('\n');
  }

  async #stats(): Promise<void> {
    const stats = await this.#storage.getStats();
    this.#push({
      kind: 'stats',
      title: 'Statistics',
      lines: [
        `files now           ${stats.trackedFiles}`,
        `versions            ${stats.versions}`,
        `created             ${stats.filesCreated}`,
        `modified            ${stats.filesModified}`,
        `deleted             ${stats.filesDeleted}`,
        `moved               ${stats.filesMoved}`,
        `content, all        ${readableSize(stats.contentBytes)}`,
        `on disk             ${readableSize(stats.storedBytes)}`,
        `average version     ${readableSize(stats.versions === 0 ? 0 : Math.round(stats.contentBytes / stats.versions))}`
      ]
    });
  }

  #askRestore(asCopy: boolean): void {
    const { screen, cursor } = this.#place;
    const version = screen.kind === 'versions' ? screen.history[cursor] : undefined;
    if (version === undefined) return;
    this.#asking = {
      question: `Restore ${version.path} as of ${localTime(version.at)}${asCopy ? ' as a copy' : ''}? y/n`,
      yes: () => this.#restore(version.versionId, asCopy)
    };
  }

  #rowText(index: number, width: number): string {
    const screen = this.#place.screen;
    if (screen.kind === 'files') {
      const file = this.#shownFiles()[index];
      if (file === undefined) return '';
      const right = `${file.exists ? '' : 'deleted  '}${String(file.versions).padStart(5)} ver.  ${localTime(file.latest.at)}`;
      const path = printable(file.path);
      // The name matters most: on a narrow terminal it has the line to itself.
      if (width < right.length + 16) return middleEllipsis(path, width);
      return padToWidth(middleEllipsis(path, width - right.length - 2), width - right.length) + right;
    }
    if (screen.kind === 'versions') {
      const version = screen.history[index];
      if (version === undefined) return '';
      const older = screen.history.slice(index + 1).find(change => change.size !== undefined);
      const delta = version.size === undefined || older?.size === undefined ? '' : version.size - older.size;
      const change = typeof delta === 'number' ? `${delta < 0 ? '−' : '+'}${readableSize(Math.abs(delta))}` : '';
      const note = [version.cause?.kind === 'restore' ? `restored from ${version.cause.version}` : '', ...version.flags]
        .filter(Boolean)
        .join(' ');
      return `${localTime(version.at)}  ${version.kind.padEnd(8)}  ${(version.size === undefined ? '' : readableSize(version.size)).padStart(9)}  ${change.padStart(10)}  ${version.versionId}  ${note}`;
    }
    return printable((screen.lines[index] ?? '').replaceAll('\t', '    '));
  }

  #draw(): void {
    const width = Math.max(1, this.#output.columns || 80);
    const rows = Math.max(4, this.#output.rows || 24);
    const body = rows - 3;
    const place = this.#place;
    const { screen } = place;
    const length = this.#length();
    place.cursor = Math.max(0, Math.min(place.cursor, length - 1));
    if (place.cursor < place.top) place.top = place.cursor;
    if (place.cursor >= place.top + body) place.top = place.cursor - body + 1;
    const title = {
      files: `Syft Sync  ${printable(this.#storage.watchPath)}  ${length} files${this.#filter === '' && !this.#typing ? '' : `  /${this.#filter}${this.#typing ? '▏' : ''}`}`,
      versions: screen.kind === 'versions' ? `${printable(screen.path)}  ${length} changes` : '',
      content: screen.kind === 'content' ? printable(screen.title) : '',
      stats: 'Statistics'
    }[screen.kind];
    const help = {
      files: '↑↓ move  ⏎ versions  / filter  s statistics  u update  q quit',
      versions: '↑↓ move  ⏎ show  r restore  R restore as copy  ← back  q back',
      content: '↑↓ scroll  ← back',
      stats: '← back'
    }[screen.kind];
    const line = (text: string, style = ''): string =>
      `\u001b[2K${style}${cutToWidth(printable(text), width)}${style === '' ? '' : '\u001b[0m'}\r\n`;
    let frame = '\u001b[H' + line(middleEllipsis(printable(title), width), '\u001b[1m');
    if (length === 0) {
      frame += line(
        this.#filter === '' ? 'Nothing is recorded yet.' : `No file name holds "${printable(this.#filter)}".`
      );
    }
    for (let row = length === 0 ? 1 : 0; row < body; row++) {
      const index = place.top + row;
      const selected = index === place.cursor && screen.kind !== 'stats' && screen.kind !== 'content';
      frame += index < length ? line(this.#rowText(index, width), selected ? '\u001b[7m' : '') : line('');
    }
    frame += line(this.#asking?.question ?? this.#message);
    frame += `\u001b[2K\u001b[2m${cutToWidth(help, width)}\u001b[0m`;
    this.#output.write(frame);
  }
}
