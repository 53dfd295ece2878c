/** Results on stdout, everything else on stderr; NDJSON or lines for people. */
import type { ChangeJson } from '../core/change.ts';
import type { SyftError } from '../core/errors.ts';
import { printable, readableSize } from '../library/terminal-text.ts';

/** What progress is counted in: files, or the bytes of the log. */
export type ProgressUnit = 'files' | 'bytes';

/** One value as one line of JSON that no terminal can take for a command, whatever names are in it. */
export function jsonLine(value: unknown): string {
  const text = JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  );
  return `${text}\n`;
}

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** Where a command writes. Backpressure and a reader that goes away (`| head`) are handled here, once. */
export class Output {
  json = false;
  quiet = false;
  verbose = false;
  #gone = false;
  #failure: NodeJS.ErrnoException | undefined;
  #waiting: Promise<void> | undefined;
  #together = '';
  #progressShown = false;
  #progressAt = 0;

  constructor(options: OutputOptions) {
    this.configure(options);
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      this.#gone = true;
      if (error.code !== 'EPIPE') this.#failure ??= error;
    });
    // A terminal that went away takes the messages with it, nothing else.
    process.stderr.on('error', () => undefined);
  }

  /** Once the command line is understood. */
  configure(options: OutputOptions): void {
    this.json = options.json;
    this.quiet = options.quiet ?? false;
    this.verbose = options.verbose ?? false;
  }

  /** True when nobody reads stdout any more: a command may stop early. */
  get gone(): boolean {
    return this.#gone;
  }

  /** Why stdout could not be written to, unless its reader only went away. */
  get failure(): NodeJS.ErrnoException | undefined {
    return this.#failure;
  }

  async write(data: string | Uint8Array): Promise<void> {
    if (this.#gone) return;
    if (!process.stdout.write(data)) await this.#drained();
  }

  /** One wait for all that write meanwhile. */
  #drained(): Promise<void> {
    this.#waiting ??= new Promise(resolve => {
      const done = (): void => {
        process.stdout.off('drain', done).off('close', done).off('error', done);
        this.#waiting = undefined;
        resolve();
      };
      process.stdout.on('drain', done).on('close', done).on('error', done);
    });
    return this.#waiting;
  }

  /** Resolves when the reader has taken all that was written: a process that ends before would cut it short. */
  async finish(): Promise<void> {
    this.writeTogether();
    if (!this.#gone) await new Promise<void>(resolve => process.stdout.write('', () => resolve()));
  }

  /** One result: the object with `--json`, else the line. */
  async result(object: unknown, line: string): Promise<void> {
    this.writeTogether();
    await this.write(this.json ? jsonLine(object) : `${printable(line)}\n`);
  }

  /** {@link result} of one of very many that come together: they are written together, before the next turn of the event loop. */
  together(object: unknown, line: () => string): void {
    if (this.#together === '') setImmediate(() => this.writeTogether());
    this.#together += this.json ? jsonLine(object) : `${printable(line())}\n`;
  }

  /** Writes what {@link together} has gathered. */
  writeTogether(): void {
    const text = this.#together;
    this.#together = '';
    if (text !== '') void this.write(text);
  }

  /** Something to know, on stderr; silent with `-q`. */
  note(text: string): void {
    if (this.quiet) return;
    this.endProgress();
    process.stderr.write(`${printable(text)}\n`);
  }

  /** Something to know for those who asked with `-v`. */
  detail(text: string): void {
    if (this.verbose) this.note(`syft-sync: ${text}`);
  }

  /** Whether there is anybody to show progress to. */
  get showsProgress(): boolean {
    return !this.quiet && process.stderr.isTTY === true;
  }

  /** Draws progress on a terminal, at most ten times a second. */
  progress(p: { done: number; total: number; bytes: number }, startedAt: number, unit: ProgressUnit = 'files'): void {
    if (!this.showsProgress) return;
    const now = Date.now();
    if (now - this.#progressAt < 100) return;
    this.#progressAt = now;
    this.#progressShown = true;
    const seconds = Math.max(0.001, (now - startedAt) / 1000);
    const total = Math.max(p.done, p.total);
    const left = p.done === 0 ? '' : `, ${Math.ceil(((total - p.done) * seconds) / p.done)} s left`;
    const text =
      unit === 'bytes'
        ? `${readableSize(p.done)} of ${readableSize(total)}, ${readableSize(Math.round(p.done / seconds))}/s${left}`
        : `${p.done} of ${total} files, ${readableSize(p.bytes)}, ${Math.round(p.done / seconds)} files/s${left}`;
    process.stderr.write(`\r\u001b[2K${text.slice(0, Math.max(1, (process.stderr.columns ?? 80) - 1))}`);
  }

  endProgress(): void {
    if (this.#progressShown) process.stderr.write('\r\u001b[2K');
    this.#progressShown = false;
  }

  /** How many rows were answered, and whether there are more: on stderr, for stdout is the rows. An object with `--json`. */
  endOfRows({ rows, truncated }: { rows: number; truncated: boolean }): void {
    if (this.json) process.stderr.write(jsonLine({ rows, truncated }));
    else if (truncated) this.note(`The query has more than ${rows} rows; the rest was left out.`);
  }

  /** An error as the contract says: one line with its code; with `--json` an object on stderr too, as the last line. */
  error(error: SyftError): void {
    this.endProgress();
    process.stderr.write(`syft-sync: ${printable(error.message)} [${error.code}]\n`);
    if (!this.json) return;
    const body = {
      code: error.code,
      message: error.message,
      ...(error.path !== undefined && { path: error.path }),
      ...(error.position !== undefined && { position: error.position })
    };
    process.stderr.write(jsonLine({ error: body }));
  }
}

/** What is said of a version, behind its line. */
export function marksLine(marks: {
  labels?: readonly string[];
  pinned?: boolean;
  dropped?: { act: string; at: string };
}): string {
  const words = [
    ...(marks.pinned === true ? ['pinned'] : []),
    ...(marks.labels ?? []).map(label => `"${label}"`),
    ...(marks.dropped === undefined
      ? []
      : [`content ${marks.dropped.act === 'erase' ? 'erased' : 'pruned'} ${marks.dropped.at.slice(0, 10)}`])
  ];
  return words.map(word => `  ${word}`).join('');
}

/** A change as one line: when, how, size, id, path. */
export function changeLine(change: ChangeJson): string {
  const size = change.type === 'directory' ? 'directory' : change.size === undefined ? '' : readableSize(change.size);
  const path = change.from === undefined ? change.path : `${change.from} → ${change.path}`;
  const flags = change.flags.length === 0 ? '' : `  (${change.flags.join(', ')})`;
  return `${change.at}  ${change.kind.padEnd(8)}  ${size.padStart(9)}  ${change.versionId.padEnd(14)}  ${path}${flags}`;
}
