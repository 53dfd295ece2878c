/** Runs the command line in a real pseudo-terminal, by way of Python, which this project needs anyway. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { stripVTControlCharacters } from 'node:util';
import { MAIN, type CommandLine } from './run.ts';

const PTY = `
import fcntl, os, pty, select, signal, struct, sys, termios
rows, cols = int(sys.argv[1]), int(sys.argv[2])
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
    if sys.argv[3] != '':
        out = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(out, 1)
    os.execv(sys.argv[4], sys.argv[4:])
signal.signal(signal.SIGUSR1, lambda *_: os.kill(pid, signal.SIGTERM))
reading = [master, 0]
done = status = 0
while not done:
    ready, _, _ = select.select(reading, [], [], 0.05)
    if master in ready:
        try: data = os.read(master, 65536)
        except OSError: data = b''
        if data: os.write(1, data)
        else: break
    if 0 in ready:
        data = os.read(0, 65536)
        if data: os.write(master, data)
        else: reading.remove(0)
    if not ready:
        done, status = os.waitpid(pid, os.WNOHANG)
if not done: done, status = os.waitpid(pid, 0)
flags = termios.tcgetattr(master)[3]
sys.stderr.write('cooked' if flags & termios.ICANON and flags & termios.ECHO else 'raw')
sys.exit(os.waitstatus_to_exitcode(status) & 255)
`;

export class Terminal {
  readonly child: ChildProcess;
  /** All that was written to the terminal. */
  raw = '';
  #left = '';

  /** @param options `stdout`: a file that stdout is sent to, while stderr stays the terminal. */
  constructor(
    cli: CommandLine,
    args: readonly string[],
    options: { rows?: number; columns?: number; stdout?: string } = {}
  ) {
    const { rows = 24, columns = 80, stdout = '' } = options;
    const command = [process.execPath, MAIN, ...args];
    this.child = spawn('python3', ['-c', PTY, String(rows), String(columns), stdout, ...command], {
      cwd: cli.cwd,
      env: { ...cli.env, TERM: 'xterm' },
      stdio: ['pipe', 'pipe', 'pipe']
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.raw += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#left += text));
  }

  /** `cooked` when the program left the terminal as a shell needs it. Known after {@link end}. */
  get left(): string {
    return this.#left;
  }

  /** The last screen that was drawn, without colours. */
  get screen(): string {
    return stripVTControlCharacters(this.raw.slice(this.raw.lastIndexOf('\u001b[H')));
  }

  type(keys: string): void {
    this.child.stdin?.write(keys);
  }

  /** Waits until the screen shows the text. */
  async shows(text: string | RegExp): Promise<void> {
    const there = (): boolean => (typeof text === 'string' ? this.screen.includes(text) : text.test(this.screen));
    while (!there()) {
      if (this.child.exitCode !== null) throw new Error(`ended without ${String(text)}: ${this.raw}${this.#left}`);
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  }

  /** Resolves with the exit status. */
  async end(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'close');
    return this.child.exitCode;
  }
}
