/**
 * Builds the package: dist/ is the library as tsc emits it, dist/bundle/ the command line and sidecar in few files.
 *
 * Workers: code refers to one as `new URL('./x-worker.ts', import.meta.url)` (any relative directory, the name ends in
 * `-worker.ts`). Node runs the sources so; here the reference becomes `./x-worker.js` in dist/ and `./x-worker.mjs` in
 * dist/bundle/, where each `*-worker.ts` found under src/ is an entry point of its own. Their names must be unique.
 *
 * `--bundle-only` leaves tsc out.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
/** How code refers to a worker. */
export const WORKER = /new URL\(\s*(['"])(\.{1,2}\/[^'"]*-worker)\.ts\1,\s*import\.meta\.url\s*\)/g;

/** Every file below a directory; Node 20 has no fs.globSync. */
function files(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? files(join(dir, entry.name)) : [join(dir, entry.name)]
  );
}

function buildLibrary() {
  const tsc = require.resolve('typescript/bin/tsc');
  const done = spawnSync(process.execPath, [tsc, '-b', here], { stdio: 'inherit' });
  if (done.status !== 0) {
    process.exit(done.status ?? 1);
  }
  for (const file of files(join(here, 'dist'))) {
    if (!file.endsWith('.js')) {
      continue;
    }
    const text = readFileSync(file, 'utf8');
    const rewritten = text.replace(WORKER, (_, quote, path) => `new URL(${quote}${path}.js${quote}, import.meta.url)`);
    if (rewritten !== text) {
      writeFileSync(file, rewritten);
    }
  }
}

const workerUrls = {
  name: 'worker-urls',
  setup(plugin) {
    plugin.onLoad({ filter: /src[\\/].*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes('-worker.ts')) {
        return undefined;
      }
      return {
        loader: 'ts',
        contents: text.replace(
          WORKER,
          (_, quote, url) => `new URL(${quote}./${basename(url)}.mjs${quote}, import.meta.url)`
        )
      };
    });
  }
};

const PACKAGE_ROOT = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+(?=[\\/])/;
const LICENCE_FILE = /^(?:licen[cs]e|copying|notice)/i;

/** The licences of all packages of which a part is in the bundle: they ask to go with every copy. */
function licencesOf(inputs) {
  const roots = new Set();
  for (const input of inputs) {
    const root = PACKAGE_ROOT.exec(resolve(input))?.[0];
    if (root !== undefined) roots.add(root);
  }
  const parts = [...roots].map(root => {
    const { name, version, license, homepage } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const texts = readdirSync(root)
      .filter(file => LICENCE_FILE.test(file))
      .sort()
      .map(file => readFileSync(join(root, file), 'utf8').trim());
    if (texts.length === 0 && license === undefined) throw new Error(`${name} ${version} does not say its licence`);
    const head = [`${name} ${version}`, `Licence: ${license ?? 'see below'}`, ...(homepage ? [homepage] : [])];
    return { name, text: [head.join('\n'), ...texts].join('\n\n') };
  });
  parts.sort((a, b) => (a.name < b.name ? -1 : 1));
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  return `The programs in this directory contain parts of these packages.${rule}${parts.map(part => part.text).join(rule)}\n`;
}

/**
 * Bundles programs, and with them every worker, into a directory that takes the place of what was there.
 * @param programs Their sources, by the name each gets (`name.mjs`).
 */
export async function bundle(programs, outdir) {
  const entryPoints = { ...programs };
  for (const file of files(join(here, 'src'))) {
    if (file.endsWith('-worker.ts')) {
      const name = basename(file, '.ts');
      if (name in entryPoints) {
        throw new Error(`two workers are called ${name}`);
      }
      entryPoints[name] = file;
    }
  }
  const staged = `${outdir}.new`;
  rmSync(staged, { recursive: true, force: true });
  const { metafile } = await build({
    entryPoints,
    metafile: true,
    outdir: staged,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    // Lazily imported parts (express, DuckDB) stay apart, so that a short command starts fast.
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    external: ['@duckdb/node-api', '@duckdb/node-bindings*', '@parcel/watcher'],
    legalComments: 'none',
    logLevel: 'warning',
    plugins: [workerUrls],
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        'const require = __createRequire(import.meta.url);',
        'const __filename = import.meta.filename;',
        'const __dirname = import.meta.dirname;'
      ].join('\n')
    }
  });
  writeFileSync(join(staged, 'THIRD-PARTY-LICENSES.txt'), licencesOf(Object.keys(metafile.inputs)));
  if (sameFiles(staged, outdir)) {
    // Someone may be running it.
    rmSync(staged, { recursive: true });
    const now = new Date();
    for (const file of files(outdir)) utimesSync(file, now, now);
    return;
  }
  mkdirSync(dirname(outdir), { recursive: true });
  rmSync(outdir, { recursive: true, force: true });
  renameSync(staged, outdir);
}

function sameFiles(one, other) {
  if (!existsSync(other)) return false;
  const names = dir =>
    files(dir)
      .map(file => relative(dir, file))
      .sort();
  const found = names(one);
  return (
    found.join('\n') === names(other).join('\n') &&
    found.every(name => readFileSync(join(one, name)).equals(readFileSync(join(other, name))))
  );
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!process.argv.includes('--bundle-only')) {
    buildLibrary();
  }
  await bundle({ 'syft-sync': join(here, 'src/cli/main.ts') }, join(here, 'dist/bundle'));
}
