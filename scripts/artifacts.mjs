/** Packs what users install. Both expect a finished build; `npm pack` renews its own. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { root, run, venvPython } from './setup.mjs';

/** `npm pack` into a folder. Returns the tarball's path. */
export function packTarball(folder) {
  mkdirSync(folder, { recursive: true });
  run('npm', ['pack', '--silent', '--pack-destination', folder], { what: 'npm pack', quiet: true });
  return only(folder, '.tgz');
}

/** Builds the wheel into a folder, with the build backend of .venv. Returns the wheel's path. */
export function buildWheel(folder) {
  mkdirSync(folder, { recursive: true });
  const args = ['-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', folder, root];
  run(venvPython, args, { what: 'pip wheel', quiet: true });
  return only(folder, '.whl');
}

function only(folder, extension) {
  const [name] = readdirSync(folder).filter(file => file.endsWith(extension));
  return join(folder, name);
}
