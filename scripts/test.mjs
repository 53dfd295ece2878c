/**
 * `npm test [-- --only lint|unit|ui|packaging] [--grep PATTERN]`: installs and builds what is missing, runs every check and
 * test, says why what was skipped was, and closes with `N passed, N failed` over all of them. Each check (lint, formatting, types …) counts as one.
 * A runner that executes no test has failed, unless --grep asked for few.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import {
  SetupError,
  buildLabextension,
  buildServer,
  cache,
  chromium,
  environment,
  installPackages,
  installPython,
  pinnedNode,
  root,
  say,
  testPrograms,
  venvPython
} from './setup.mjs';

const GROUPS = ['lint', 'unit', 'ui', 'packaging'];
const results = join(cache, 'results');
const tally = { passed: 0, failed: 0, skipped: 0, failures: [], reasons: [] };
const seconds = since => `${((Date.now() - since) / 1000).toFixed(1)} s`;

function options() {
  const { values } = parseArgs({
    options: { only: { type: 'string', multiple: true }, grep: { type: 'string' } }
  });
  const only = values.only?.flatMap(value => value.split(',')) ?? GROUPS;
  const unknown = only.find(group => !GROUPS.includes(group));
  if (unknown !== undefined) {
    throw new SetupError(`--only ${unknown}: it is one of ${GROUPS.join(', ')}`);
  }
  return { only, grep: values.grep };
}

/** Ends what runs now, for Ctrl-C. */
const endings = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const end of endings) {
      end();
    }
    process.exit(130);
  });
}

/** Runs a command to its end; resolves with its exit code and, when buffered, its output. Killed after limitMinutes. */
function execute(command, args, { env = {}, buffered = false, limitMinutes = 40 } = {}) {
  return new Promise(done => {
    const child = spawn(command, args, {
      cwd: root,
      env: environment(env),
      stdio: ['ignore', buffered ? 'pipe' : 'inherit', buffered ? 'pipe' : 'inherit'],
      detached: process.platform !== 'win32'
    });
    let output = '';
    child.stdout?.on('data', chunk => (output += chunk));
    child.stderr?.on('data', chunk => (output += chunk));
    const killGroup = () => {
      try {
        process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    };
    const timer = setTimeout(() => {
      output += `\nstopped after ${limitMinutes} minutes\n`;
      console.error(`${command} ${args.join(' ')}: stopped after ${limitMinutes} minutes`);
      killGroup();
    }, limitMinutes * 60_000);
    endings.add(killGroup);
    child.on('error', error => (output += error.message));
    child.on('close', code => {
      clearTimeout(timer);
      endings.delete(killGroup);
      done({ code: code ?? 1, output });
    });
  });
}

function record(name, { passed, failed, skipped = 0, failures = [], reasons = [] }, since) {
  tally.passed += passed;
  tally.failed += failed;
  tally.skipped += skipped;
  tally.failures.push(...failures.map(failure => `${name}: ${failure}`));
  tally.reasons.push(...reasons.map(reason => `${name}: ${reason}`));
  const extra = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(
    `\n${failed > 0 ? '\u2717' : '\u2713'} ${name}: ${passed} ok, ${failed} not ok${extra} (${seconds(since)})`
  );
}

async function check(name, tool, args) {
  const since = Date.now();
  const { code, output } = await execute(pinnedNode(), [join('node_modules', tool), ...args], { buffered: true });
  if (code !== 0) {
    console.log(output);
  }
  record(name, code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1, failures: [`exit ${code}`] }, since);
}

/** Runs a test runner, then reads its report; a missing or empty report, or a bad exit without a failed test, fails. */
async function suite(name, command, args, { env, report, read, grep, maySkipAll = false }) {
  say(name);
  const since = Date.now();
  rmSync(report, { force: true });
  const { code } = await execute(command, args, { env });
  let counts;
  try {
    counts = read(readFileSync(report, 'utf8'));
  } catch (error) {
    counts = { passed: 0, failed: 1, failures: [`no readable report (exit ${code}): ${error.message}`] };
  }
  const executed = counts.passed + counts.failed + (maySkipAll ? counts.skipped : 0);
  if (executed === 0 && grep === undefined) {
    counts = { ...counts, failed: 1, failures: ['no test was executed'] };
  } else if (code !== 0 && counts.failed === 0 && !(grep !== undefined && counts.passed === 0)) {
    counts = { ...counts, failed: 1, failures: [`the runner ended with exit ${code}`] };
  }
  record(name, counts, since);
}

function readJest(text) {
  const { testResults } = JSON.parse(text);
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for (const file of testResults) {
    const broken = file.status === 'failed' && !file.assertionResults.some(result => result.status === 'failed');
    if (broken) {
      counts.failed++;
      counts.failures.push(`${file.name}: could not run`);
    }
    for (const result of file.assertionResults) {
      if (result.status === 'passed') {
        counts.passed++;
      } else if (result.status === 'failed') {
        counts.failed++;
        counts.failures.push(result.fullName);
      } else {
        counts.skipped++;
      }
    }
  }
  return counts;
}

function readPlaywright(text) {
  const report = JSON.parse(text);
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  const visit = (suiteNode, names) => {
    for (const spec of suiteNode.specs ?? []) {
      for (const { status } of spec.tests) {
        const name = [...names, spec.title].join(' \u203a ');
        if (status === 'unexpected') {
          counts.failed++;
          counts.failures.push(name);
        } else if (status === 'skipped') {
          counts.skipped++;
        } else {
          counts.passed++;
          if (status === 'flaky') {
            console.log(`passed on the second try: ${name}`);
          }
        }
      }
    }
    (suiteNode.suites ?? []).forEach(inner => visit(inner, [...names, inner.title]));
  };
  report.suites.forEach(file => visit(file, [file.title]));
  for (const error of report.errors ?? []) {
    counts.failed++;
    counts.failures.push(error.message ?? 'error outside of a test');
  }
  return counts;
}

const unescape = text =>
  text
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');

function readJUnit(text) {
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [], reasons: [] };
  for (const { 1: attributes, 2: end, index } of text.matchAll(/<testcase\b((?:[^>"]|"[^"]*")*?)(\/?)>/g)) {
    const body = end === '/' ? '' : text.slice(index, text.indexOf('</testcase>', index));
    if (/<(failure|error)\b/.test(body)) {
      counts.failed++;
      counts.failures.push(unescape(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? '?'));
    } else if (/<skipped\b/.test(body)) {
      counts.skipped++;
      const reason = unescape(/<skipped\b[^>]*\bmessage="([^"]*)"/.exec(body)?.[1] ?? '');
      if (reason !== '') counts.reasons.push(`${unescape(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? '?')}: ${reason}`);
    } else {
      counts.passed++;
    }
  }
  return counts;
}

async function lint() {
  await Promise.all([
    check('eslint', 'eslint/bin/eslint.js', ['--max-warnings=0', '.']),
    (async () => {
      await check('prettier', 'prettier/bin/prettier.cjs', ['--check', '--log-level=warn', '.']);
      await check('stylelint', 'stylelint/bin/stylelint.mjs', ['--max-warnings=0', 'style/**/*.css']);
      await check('import direction', 'dependency-cruiser/bin/dependency-cruiser.mjs', [
        '--config',
        '.dependency-cruiser.cjs',
        'server/src',
        'labextension'
      ]);
      await check('types', 'typescript/bin/tsc', ['-b']);
    })()
  ]);
}

/** Whether a folder holds test files at all; where it does, tests are expected to run. */
function has(folder, name) {
  const path = join(root, folder);
  return (
    existsSync(path) && readdirSync(path, { recursive: true }).some(file => name.test(file.replace(/.*[\\/]/, '')))
  );
}

async function jest(grep) {
  testPrograms();
  // Hundreds of short processes of ours are started: compiled once for all of them.
  const env = { NODE_COMPILE_CACHE: join(cache, 'compiled') };
  const report = join(results, 'jest.json');
  const filter = grep === undefined ? [] : ['-t', grep];
  await suite(
    'jest',
    pinnedNode(),
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      'node_modules/jest/bin/jest.js',
      '--maxWorkers=2',
      '--json',
      `--outputFile=${report}`,
      ...filter
    ],
    { env, report, read: readJest, grep }
  );
}

async function pytest(grep) {
  if (!has('test/python', /^test_.*\.py$/)) {
    return;
  }
  const report = join(results, 'pytest.xml');
  const selected = grep === undefined ? [] : ['test/python', `--grep=${grep}`];
  await suite('pytest', venvPython, ['-m', 'pytest', '-q', `--junitxml=${report}`, ...selected], {
    report,
    read: readJUnit,
    grep
  });
}

/** @param specs Which files, where it is not all; @param part what they are together. Each part has a JupyterLab of its own. */
async function playwright(name, project, { grep, specs = [], part = project }) {
  const report = join(results, `playwright-${part}.json`);
  const filter = [...specs, ...(grep === undefined ? [] : ['--grep', grep, '--pass-with-no-tests'])];
  await suite(
    name,
    pinnedNode(),
    [
      'node_modules/@playwright/test/cli.js',
      'test',
      '-c',
      'ui-tests/playwright.config.ts',
      '--reporter=list,json',
      ...filter
    ],
    {
      env: {
        SYFT_UI_PROJECT: project,
        SYFT_UI_PART: part,
        SYFT_SYNC_CHROMIUM: chromium(),
        PLAYWRIGHT_JSON_OUTPUT_FILE: report,
        PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD: '1'
      },
      report,
      read: readPlaywright,
      grep
    }
  );
}

/** Those that start a JupyterLab in each test, and two more: about half of the time. */
const HALF = ['looks.spec.ts', 'sql.spec.ts', 'states.spec.ts'];

async function ui(grep) {
  const specs = readdirSync(join(root, 'ui-tests')).filter(file => /^(?!install).*\.spec\.ts$/.test(file));
  const halves = [specs.filter(file => !HALF.includes(file)), specs.filter(file => HALF.includes(file))];
  await Promise.all(
    halves
      .filter(half => half.length > 0)
      .map((half, i) =>
        playwright(`JupyterLab in Chromium, ${i + 1} of 2`, 'ui', { grep, specs: half, part: `ui-${i + 1}-of-2` })
      )
  );
}

async function packaging(grep) {
  const report = join(results, 'packaging.xml');
  const filter = grep === undefined ? [] : [`--test-name-pattern=${grep}`];
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  reporters.push('--test-reporter=junit', `--test-reporter-destination=${report}`);
  await suite('packaging', pinnedNode(), ['--test', ...reporters, ...filter, 'test/packaging/*.test.mjs'], {
    report,
    read: readJUnit,
    grep
  });
}

/** What we write, read by the packages of OpenMined, and the other way round. */
async function interop(grep) {
  const report = join(results, 'interop.xml');
  const filter = grep === undefined ? [] : [`--test-name-pattern=${grep}`];
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  reporters.push('--test-reporter=junit', `--test-reporter-destination=${report}`);
  await suite('interop', pinnedNode(), ['--test', ...reporters, ...filter, 'test/interop/*.test.mjs'], {
    env: { NODE_COMPILE_CACHE: join(cache, 'compiled') },
    report,
    read: readJUnit,
    grep,
    // Where PyPI is not reachable; each says so.
    maySkipAll: true
  });
}

/** A step before the tests: when it fails, that is one failure, and the rest cannot run. */
function prepare(name, step) {
  try {
    step();
  } catch (error) {
    if (!(error instanceof SetupError)) {
      throw error;
    }
    console.error(error.message);
    tally.failed++;
    tally.failures.push(`${name}: ${error.message.split('\n')[0]}`);
    return false;
  }
  return true;
}

async function main() {
  const { only, grep } = options();
  const since = Date.now();
  mkdirSync(results, { recursive: true });
  const wanted = group => only.includes(group);
  const runs = wanted('unit') || wanted('ui') || wanted('packaging');
  const aside = runs ? execute(process.execPath, ['scripts/set-up-aside.mjs']) : undefined;
  const installed = prepare('install', installPackages);
  // The checks read sources, and begin beside the build.
  const checked = installed && wanted('lint') && grep === undefined ? lint() : undefined;
  const built =
    installed &&
    runs &&
    // Without the library, for a wrong type, the sidecar may still be built and tested.
    (prepare('library', () => buildServer({ library: true })) || prepare('build', () => buildServer())) &&
    prepare('build', buildLabextension);
  await checked;
  await aside;
  if (built && prepare('python', installPython)) {
    const browser = (wanted('ui') || wanted('packaging')) && prepare('chromium', chromium);
    await Promise.all([
      wanted('unit') && jest(grep),
      // These wait for servers and downloads more than they compute.
      (async () => {
        if (wanted('unit')) await pytest(grep);
        if (wanted('unit')) await interop(grep);
        if (wanted('packaging') && browser) await playwright('installs in JupyterLab', 'install', { grep });
      })()
    ]);
    if (wanted('ui') && browser && has('ui-tests', /^(?!install).*\.spec\.ts$/)) {
      await ui(grep);
    }
    if (wanted('packaging')) await packaging(grep);
  }
  console.log(`\nall in ${seconds(since)}`);
  for (const reason of tally.reasons) {
    console.log(`SKIPPED ${reason}`);
  }
  for (const failure of tally.failures) {
    console.log(`FAILED ${failure}`);
  }
  const skipped = tally.skipped > 0 ? `, ${tally.skipped} skipped` : '';
  console.log(`${tally.passed} passed, ${tally.failed} failed${skipped}`);
  process.exit(tally.failed > 0 ? 1 : 0);
}

main().catch(error => {
  console.error(error instanceof SetupError ? error.message : error);
  console.log(`${tally.passed} passed, ${tally.failed + 1} failed`);
  process.exit(1);
});
