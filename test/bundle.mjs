/** Before all tests: builds the command line from the sources as they are, so that tests run what users install. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const server = fileURLToPath(new URL('../server', import.meta.url));

const changed = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

export default function bundle() {
  const sources = readdirSync(join(server, 'src'), { recursive: true }).map(name => join(server, 'src', name));
  // As new as the sources it stays: another run in this checkout may be using it.
  const built = changed(join(server, 'dist/bundle/syft-sync.mjs'));
  if ([join(server, 'build.mjs'), ...sources].every(path => changed(path) < built)) return;
  execFileSync(process.execPath, [join(server, 'build.mjs'), '--bundle-only'], { stdio: 'inherit' });
}
