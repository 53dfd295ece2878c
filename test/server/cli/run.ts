/** Runs the command line as a process, the way a shell would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { COMPILED } from '../program.ts';

/** The command line as it is installed; `test/bundle.mjs` builds it before the first test. */
export const MAIN = fileURLToPath(new URL('../../../server/dist/bundle/syft-sync.mjs', import.meta.url));

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly bytes: Buffer;
  readonly stderr: string;
  /** stdout as NDJSON. */
  readonly json: Record<string, unknown>[];
}

export class CommandLine {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;

  readonly #via: readonly string[];

  /**
   * @param home Keeps device keys and sockets of the test apart from everything else.
   * @param via A command that runs the command line: as another user, in another mount namespace.
   */
  constructor(cwd: string, home: string, via: readonly string[] = []) {
    this.cwd = cwd;
    this.#via = via;
    this.env = { ...process.env, SYFT_SYNC_HOME: home, NODE_OPTIONS: '', NODE_COMPILE_CACHE: COMPILED };
  }

  spawn(args: readonly string[], cwd = this.cwd): ChildProcess {
    const [program = '', ...rest] = [...this.#via, process.execPath, MAIN, ...args];
    return spawn(program, rest, {
      cwd,
      env: this.env,
      stdio: ['pipe', 'pipe', 'pipe']
    });
  }

  async run(args: readonly string[], cwd = this.cwd): Promise<Finished> {
    const child = this.spawn(args, cwd);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (piece: Buffer) => out.push(piece));
    child.stderr?.on('data', (piece: Buffer) => err.push(piece));
    child.stdin?.end();
    const [status] = (await once(child, 'close')) as [number | null];
    const bytes = Buffer.concat(out);
    const stdout = bytes.toString('utf8');
    return {
      status,
      stdout,
      bytes,
      stderr: Buffer.concat(err).toString('utf8'),
      get json() {
        return stdout
          .split('\n')
          .filter(line => line !== '')
          .map(line => JSON.parse(line) as Record<string, unknown>);
      }
    };
  }

  /** Runs with `--json` and expects success. */
  async ok(...args: string[]): Promise<Record<string, unknown>[]> {
    const done = await this.run(['--json', ...args]);
    if (done.status !== 0) throw new Error(`${args.join(' ')}: exit ${done.status}: ${done.stderr}`);
    return done.json;
  }

  /** Starts `watch --json`; resolves when it says it is ready. */
  async watch(...args: string[]): Promise<Watch> {
    const watch = new Watch(this.spawn(['--json', 'watch', ...args]));
    await watch.until(line => line['ready'] === true);
    return watch;
  }
}

/** A running `watch --json`. */
export class Watch {
  readonly child: ChildProcess;
  readonly lines: Record<string, unknown>[] = [];
  #rest = '';
  #wake: (() => void)[] = [];
  stderr = '';
  exited = false;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8');
    child.stdout?.on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.lines.push(JSON.parse(line) as Record<string, unknown>);
      this.#notify();
    });
    child.stderr?.on('data', (piece: Buffer) => (this.stderr += piece.toString()));
    child.on('exit', () => {
      this.exited = true;
      this.#notify();
    });
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async until(check: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (let i = 0; ;) {
      for (; i < this.lines.length; i++) {
        const line = this.lines[i];
        if (line !== undefined && check(line)) return line;
      }
      if (this.exited) throw new Error(`watch ended: ${this.stderr}`);
      await new Promise<void>(resolve => this.#wake.push(resolve));
    }
  }

  /** Ends it with a signal; resolves with the exit status. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    this.child.kill(signal);
    const [status] = (await once(this.child, 'close')) as [number | null];
    return status;
  }
}
