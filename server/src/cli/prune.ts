/** `prune`: drops the contents that a policy does not keep. */
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { PruneResultSchema, type PruneRequest, type PruneResult } from '../api/contract.ts';
import { SyftError } from '../core/errors.ts';
import {
  keepsAll,
  optionOf,
  parsePolicy,
  policyText,
  policyWords,
  type RetentionPolicy
} from '../core/retention-policy.ts';
import { loadPolicy, POLICY_FILE, savePolicy } from '../library/retention.ts';
import { readableSize } from '../library/terminal-text.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

const RULES = ['keepAll', 'hourly', 'daily', 'weekly', 'budget', 'timeZone'];

/** The policy of the options, of `--policy`, or the saved one. */
function chosenPolicy(context: CommandContext): RetentionPolicy {
  const { invocation, logDir, cwd } = context;
  const given = RULES.flatMap(rule => {
    const text = invocation.values.get(optionOf(rule));
    return text === undefined ? [] : [[rule, text] as const];
  });
  const file = invocation.values.get('policy');
  if (given.length > 0) {
    if (file !== undefined) throw new SyftError('BAD_REQUEST', 'Give --policy or rules, not both.');
    return parsePolicy(Object.fromEntries(given), 'the command line', rule => `--${optionOf(rule)}`);
  }
  const path = file === undefined ? join(logDir, POLICY_FILE) : resolve(cwd, file);
  const policy = loadPolicy(path);
  if (policy !== undefined) return policy;
  if (file !== undefined) throw new SyftError('NOT_FOUND', `There is no file ${path}.`, { path });
  throw new SyftError(
    'BAD_REQUEST',
    'Everything is kept: no policy is saved, and none was given. Try: syft-sync prune --keep-all 7d --hourly 30d --daily 1y --weekly forever --dry-run'
  );
}

async function askRecorder(context: CommandContext, request: PruneRequest): Promise<PruneResult> {
  const started = Date.now();
  const { output, signal } = context;
  const result = await context.withRecorder(
    async control => {
      const answer = PruneResultSchema.safeParse(await control.call('POST', '/api/prune', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data;
    },
    workspace => workspace.prune(request, { signal, onProgress: p => output.progress(p, started, 'bytes') })
  );
  output.endProgress();
  return result;
}

async function print({ output }: CommandContext, result: PruneResult): Promise<void> {
  const { lost, ...sums } = result;
  for (const version of lost) {
    if (output.gone) return;
    await output.result(
      { ...version, dryRun: result.dryRun },
      `${version.at}  ${readableSize(version.size).padStart(9)}  ${version.versionId.padEnd(14)}  ${version.path}`
    );
  }
  if (output.json) {
    await output.write(jsonLine({ pruned: sums }));
    return;
  }
  const would = result.dryRun ? 'would lose their content' : 'have lost their content';
  await output.write(
    `${result.versions} versions ${would}, ${readableSize(result.freedBytes)} ${result.dryRun ? 'would be' : 'were'} freed, ` +
      `${readableSize(result.storedBytes)} stay${result.act === undefined ? '' : `; recorded as ${result.act}`}\n`
  );
}

function noteBudget({ output }: CommandContext, result: PruneResult): void {
  if (result.budget === undefined || result.budget.met) return;
  output.note(
    `syft-sync: the budget of ${readableSize(result.budget.limit)} cannot be met: the last version of each file, and what is pinned or labelled, take more.`
  );
}

/** Asks at a terminal. True when nobody is there to be asked: a script means what it says. */
async function confirmed(context: CommandContext, result: PruneResult): Promise<boolean> {
  const { invocation, output } = context;
  if (invocation.flags.has('yes') || output.json || process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
    return true;
  }
  const dialog = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await dialog.question(`Drop the contents of these ${result.versions} versions for ever? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    dialog.close();
  }
}

export async function pruneCommand(context: CommandContext): Promise<number> {
  const { invocation, output, logDir } = context;
  const policy = chosenPolicy(context);
  if (invocation.flags.has('save')) {
    savePolicy(logDir, policy);
    output.note(`syft-sync: saved: ${policyWords(policyText(policy))}`);
  }
  if (keepsAll(policy)) {
    output.note('syft-sync: a policy without rules keeps everything; there is nothing to prune.');
    return 0;
  }
  const request = { policy: { ...policyText(policy) }, dryRun: true };
  const atTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true && !output.json;
  if (invocation.flags.has('dry-run') || atTerminal) {
    const planned = await askRecorder(context, request);
    await print(context, planned);
    noteBudget(context, planned);
    if (invocation.flags.has('dry-run') || planned.versions === 0) return 0;
    if (!(await confirmed(context, planned))) {
      await output.write('nothing was dropped\n');
      return 0;
    }
  }
  const done = await askRecorder(context, { ...request, dryRun: false });
  await print(context, atTerminal ? { ...done, lost: [] } : done);
  noteBudget(context, done);
  return 0;
}
