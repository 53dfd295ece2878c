/**
 * Before all tests: builds the command line from the sources as they are, so that tests run what users install; and the programs
 * that tests start by the hundred, which then start in half the time.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { bundle } from '../server/build.mjs';

const at = path => fileURLToPath(new URL(path, import.meta.url));
const filesBelow = folder => readdirSync(folder, { recursive: true }).map(name => join(folder, name));
const changed = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

export default async function bundles() {
  const build = at('../server/build.mjs');
  const sources = [build, ...filesBelow(at('../server/src'))];
  // As new as the sources it stays: another run in this checkout may be using it.
  const isNew = (output, inputs) => inputs.every(path => changed(path) < changed(output));

  if (!isNew(at('../server/dist/bundle/syft-sync.mjs'), sources)) {
    execFileSync(process.execPath, [build, '--bundle-only'], { stdio: 'inherit' });
  }
  const helpers = filesBelow(at('server')).filter(path => path.endsWith('.ts') && !path.endsWith('.test.ts'));
  const children = helpers.filter(path => path.endsWith('-child.ts'));
  const programs = Object.fromEntries(children.map(path => [basename(path, '.ts'), path]));
  const outdir = at('../.cache/children');
  if (!isNew(join(outdir, 'fault-child.mjs'), [...sources, ...helpers])) await bundle(programs, outdir);
}
