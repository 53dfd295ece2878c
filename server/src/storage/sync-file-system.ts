/** One sync for many files: syncfs(2), which Node does not offer, by way of the `sync` of the system. */
import { spawn } from 'node:child_process';
import { release } from 'node:os';
import { SyftError } from '../core/errors.ts';

/**
 * Makes everything that was written to a file system durable, names included.
 *
 * @param dir A directory on it.
 * @throws SyftError DISK_ERROR when something could not be written, or there is no such call here.
 */
export function syncFileSystem(dir: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (why: string, cause?: Error): void => {
      reject(
        new SyftError('DISK_ERROR', `The disk reported an error while files were being written: ${why}.`, {
          cause,
          path: dir
        })
      );
    };
    const child = spawn('sync', ['-f', '--', dir], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (piece: string) => (said = (said + piece).slice(0, 500)));
    child.once('error', error => {
      failed(error.message, error);
    });
    child.once('close', code => {
      if (code === 0) resolve();
      else failed(said.trim() === '' ? `sync ended with ${String(code)}` : said.trim());
    });
  });
}

/** Whether {@link syncFileSystem} can be believed: before Linux 5.8 syncfs kept errors to itself. */
export function syncsFileSystems(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return process.platform === 'linux' && (major > 5 || (major === 5 && minor >= 8));
}
