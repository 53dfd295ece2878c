/** Results on stdout, everything else on stderr; NDJSON or lines for people. */
import { once } from 'node:events';
import type { ChangeJson } from '../core/change.ts';
import type { SyftError } from '../core/errors.ts';
import { printable, readableSize } from '../library/explorer.ts';

/** Where a command writes. Backpressure and a reader that goes away (`| head`) are handled here, once. */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  #gone = false;
  #progressShown = false;
  #progressAt = 0;

  constructor(options: { json: boolean; quiet: boolean }) {
    this.json = options.json;
    this.quiet = options.quiet;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') this.#gone = true;
      else throw error;
    });
  }

  /** True when nobody reads stdout any more: a command may stop early. */
  get gone(): boolean {
    return this.#gone;
  }

  async write(data: string | Uint8Array): Promise<void> {
    if (this.#gone) return;
    if (!process.stdout.write(data)) {
      const done = new AbortController();
      const { signal } = done;
      await Promise.race([once(process.stdout, 'drain', { signal }), once(process.stdout, 'close', { signal })]).catch(
        () => undefined
      );
      // The one that did not come would stay on the stream.
      done.abort();
    }
  }

  /** One result: the object with `--json`, else the line. */
  async result(object: unknown, line: string): Promise<void> {
    await this.write(this.json ? `${JSON.stringify(object)}\n` : `${line}\n`);
  }

  /** Something to know, on stderr; silent with `-q`. */
  note(text: string): void {
    if (!this.quiet) process.stderr.write(`${text}\n`);
  }

  /** Draws progress on a terminal, at most ten times a second. */
  progress(p: { done: number; total: number; bytes: number }, startedAt: number): void {
    if (this.quiet || process.stderr.isTTY !== true) return;
    const now = Date.now();
    if (now - this.#progressAt < 100) return;
    this.#progressAt = now;
    this.#progressShown = true;
    const seconds = Math.max(0.001, (now - startedAt) / 1000);
    const left = p.done === 0 ? '' : `, ${Math.ceil(((p.total - p.done) * seconds) / p.done)} s left`;
    process.stderr.write(
      `\r\u001b[2K${p.done} of ${p.total} files, ${readableSize(p.bytes)}, ${Math.round(p.done / seconds)} files/s${left}`
    );
  }

  endProgress(): void {
    if (this.#progressShown) process.stderr.write('\r\u001b[2K');
    this.#progressShown = false;
  }

  /** An error as the contract says: one line with its code; with `--json` an object on stderr too. */
  error(error: SyftError): void {
    this.endProgress();
    if (this.json) {
      const body = { code: error.code, message: error.message, ...(error.path !== undefined && { path: error.path }) };
      process.stderr.write(`${JSON.stringify({ error: body })}\n`);
    } else {
      process.stderr.write(`syft-sync: ${printable(error.message)} [${error.code}]\n`);
    }
  }
}

/** A change as one line: when, how, size, id, path. */
export function changeLine(change: ChangeJson): string {
  const date = new Date(change.at);
  const two = (n: number): string => String(n).padStart(2, '0');
  const at = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const size = change.type === 'directory' ? 'directory' : change.size === undefined ? '' : readableSize(change.size);
  const path =
    change.from === undefined ? printable(change.path) : `${printable(change.from)} → ${printable(change.path)}`;
  const flags = change.flags.length === 0 ? '' : `  (${change.flags.join(', ')})`;
  return `${at}  ${change.kind.padEnd(8)}  ${size.padStart(9)}  ${change.versionId.padEnd(14)}  ${path}${flags}`;
}
