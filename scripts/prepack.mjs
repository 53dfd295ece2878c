/**
 * Builds what `npm pack` puts into the tarball: lib/ and the server's bundle. Runs on the machine's own Node (>= 20) and
 * takes its tools from node_modules alone, because `jupyter labextension install .` packs with neither the pinned Node
 * nor node_modules/.bin on PATH.
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);

for (const args of [
  ['server/build.mjs', '--bundle-only'],
  [require.resolve('typescript/bin/tsc'), '-b', 'labextension']
]) {
  // npm pack prints the tarball's name on stdout; ours goes to stderr.
  const done = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (done.status !== 0) {
    process.exit(done.status ?? 1);
  }
}
