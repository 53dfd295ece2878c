/** A directory of its own with a log and a recorder, for tests; everything a test does stays inside. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Recorder, type RecorderOptions } from '../../../server/src/capture/recorder.ts';
import type { Change } from '../../../server/src/core/change.ts';
import { openLogWriter } from '../../../server/src/log/log.ts';
import type { LogWriter } from '../../../server/src/log/types.ts';

export class Workspace {
  readonly base = mkdtempSync(join(tmpdir(), 'syft-capture-'));
  readonly root = join(this.base, 'root');
  readonly cacheDir = join(this.base, 'cache');
  readonly logDir = join(this.base, 'log');
  log!: LogWriter;
  readonly changes: Change[] = [];
  recorder!: Recorder;

  constructor() {
    mkdirSync(this.root);
  }

  /** Opens a recorder on the directory. Changes are collected in {@link changes}. */
  async open(options: Partial<RecorderOptions> = {}): Promise<Recorder> {
    this.log ??= options.log ?? (await openLogWriter({ dir: this.logDir, keyDir: join(this.base, 'keys') }));
    this.recorder = await Recorder.open({
      root: this.root,
      log: this.log,
      logDir: this.logDir,
      cacheDir: this.cacheDir,
      hints: 'none',
      ...options
    });
    this.recorder.on('change', change => this.changes.push(change));
    return this.recorder;
  }

  path(name: string): string {
    return join(this.root, name);
  }

  write(name: string, content: string | Buffer = name): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), content);
  }

  /** The changes collected since the last call, as `kind path` or `moved from -> path`, with flags in brackets. */
  taken(): string[] {
    return this.changes.splice(0).map(describe);
  }

  content(change: Change): Promise<Buffer> {
    return this.log.contentBytes(change);
  }

  async close(): Promise<void> {
    await this.recorder?.stop();
    await this.log?.close();
    rmSync(this.base, { recursive: true, force: true });
  }
}

export function describe(change: Change): string {
  const name = change.from === undefined ? change.path : `${change.from} -> ${change.path}`;
  const type = change.type === 'file' ? '' : ` (${change.type})`;
  const flags = change.flags.length > 0 ? ` [${change.flags.join()}]` : '';
  return `${change.kind} ${name}${type}${flags}`;
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`did not happen in ${timeoutMs} ms: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
