/** `.syft` files as others make them: by the command line, in a workspace and with a key of their own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

import { repository } from './jupyter';

const PROGRAM = join(repository, 'server', 'dist', 'bundle', 'syft-sync.mjs');

export class Correspondent {
  /** @param name - who they say they are */
  constructor(readonly name: string) {
    mkdirSync(this._workspace);
  }

  /** Who they are to others: the words of their key, and their link. */
  get card(): { fingerprint: string; link: string } {
    return JSON.parse(this._run('--json', 'contacts', 'me', '--from', this.name)) as {
      fingerprint: string;
      link: string;
    };
  }

  /** A signed message with these files; its bytes are in the file whose path is returned. */
  message(files: Record<string, string | Buffer>, options: { note?: string; to?: string[] } = {}): string {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this._workspace, path)), { recursive: true });
      writeFileSync(join(this._workspace, path), content);
    }
    this._run('capture');
    const file = join(this._base, `${this._made++}-${this.name}.syft`);
    this._run(
      'export',
      ...Object.keys(files).map(path => `${path}@latest`),
      '-o',
      file,
      '--from',
      this.name,
      ...(options.note === undefined ? [] : ['--note', options.note]),
      ...(options.to ?? []).flatMap(to => ['--to', to])
    );
    return file;
  }

  forget(): void {
    rmSync(this._base, { recursive: true, force: true });
  }

  private _run(...args: string[]): string {
    return execFileSync(process.execPath, [PROGRAM, ...args], {
      cwd: this._workspace,
      encoding: 'utf8',
      env: { ...process.env, SYFT_SYNC_HOME: join(this._base, 'home') },
      stdio: ['ignore', 'pipe', 'pipe']
    });
  }

  private readonly _base = mkdtempSync(join(tmpdir(), 'syft-sync-ui-sender-'));
  private readonly _workspace = join(this._base, 'workspace');
  private _made = 0;
}

/** The same message with other bytes in a file, as somebody on the way could leave it. */
export function alter(file: string, from: string, to: string): Buffer {
  const tar = gunzipSync(readFileSync(file));
  const at = tar.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error(`There is no “${from}” that could be altered.`);
  tar.write(to, at, 'utf8');
  return gzipSync(tar);
}
