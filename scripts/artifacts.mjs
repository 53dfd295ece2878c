/**
 * Packs what users install. Each function expects a finished build; the command makes it where it is missing.
 * `node scripts/artifacts.mjs tarball|wheel FOLDER` prints the path.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

import { root, run, setUp, venvPython } from './setup.mjs';

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

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [kind, folder] = argv.slice(2);
  setUp();
  console.log(kind === 'wheel' ? buildWheel(folder) : packTarball(folder));
}
