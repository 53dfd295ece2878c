/** Before all tests: builds the command line from the sources as they are, so that tests run what users install. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export default function bundle() {
  execFileSync(process.execPath, [fileURLToPath(new URL('../server/build.mjs', import.meta.url)), '--bundle-only'], {
    stdio: 'inherit'
  });
}
