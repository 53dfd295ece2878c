/** A folder of the test's own, with the device key in it, made before each test of a file and removed after it. */
import { afterEach, beforeEach } from '@jest/globals';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * @param workspace - name of a folder that is there at the beginning
 * @returns a path in the folder of the test that runs
 */
export function ownPlace(workspace: string): (...parts: string[]) => string {
  let dir = '';
  let home: string | undefined;
  const at = (...parts: string[]): string => join(dir, ...parts);
  beforeEach(() => {
    dir = realpathSync(mkdtempSync(join(tmpdir(), 'syft-library-')));
    mkdirSync(at(workspace));
    home = process.env['SYFT_SYNC_HOME'];
    process.env['SYFT_SYNC_HOME'] = at('home');
  });
  afterEach(() => {
    if (home === undefined) delete process.env['SYFT_SYNC_HOME'];
    else process.env['SYFT_SYNC_HOME'] = home;
    rmSync(dir, { recursive: true });
  });
  return at;
}
