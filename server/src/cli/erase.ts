/** `erase`: takes one content out of the log for ever. */
import { createInterface } from 'node:readline/promises';
import { EraseResultSchema, type EraseRequest, type EraseResult } from '../api/contract.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import { LogView } from '../library/log-view.ts';
import { readableSize } from '../library/terminal-text.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

/** The hash that is meant: of a version, or itself. */
async function hashOf(context: CommandContext): Promise<string> {
  const named = context.invocation.args[0] ?? '';
  const hash = /^(?:sha256:)?([0-9a-f]{64})$/i.exec(named)?.[1];
  if (hash !== undefined) return hash.toLowerCase();
  await using view = await LogView.open(
    { dir: context.logDir, keys: await context.keysOf(context.logDir) },
    context.root
  );
  const change = view.version(named, context.cwd);
  if (change.hash !== undefined) return change.hash;
  const path = displayPath(change.path);
  throw new SyftError('VERSION_HAS_NO_CONTENT', `This version of ${path} has no content to erase.`, { path });
}

function sharedOf({ invocation }: CommandContext): EraseRequest['shared'] {
  const [erased, kept] = [invocation.flags.has('with-shared'), invocation.flags.has('keep-shared')];
  if (erased && kept) {
    throw new SyftError('BAD_REQUEST', '--with-shared and --keep-shared are opposites; give one of them.');
  }
  return erased ? 'with' : kept ? 'keep' : undefined;
}

async function askRecorder(context: CommandContext, request: EraseRequest): Promise<EraseResult> {
  const { output, signal } = context;
  const started = Date.now();
  const result = await context.withRecorder(
    async control => {
      const answer = EraseResultSchema.safeParse(await control.call('POST', '/api/erase', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data;
    },
    workspace => workspace.erase(request, { signal, onProgress: p => output.progress(p, started, 'bytes') })
  );
  output.endProgress();
  return result;
}

async function list(context: CommandContext, heading: string, versions: EraseResult['versions']): Promise<void> {
  if (versions.length === 0) return;
  await context.output.write(`${heading}\n`);
  for (const { at, size, versionId, path } of versions) {
    await context.output.result({}, `  ${at}  ${readableSize(size).padStart(9)}  ${versionId.padEnd(14)}  ${path}`);
  }
}

async function printPlan(context: CommandContext, plan: EraseResult): Promise<void> {
  if (context.output.json) {
    await context.output.write(jsonLine(plan));
    return;
  }
  await list(context, 'These versions have this content:', plan.versions);
  await list(context, 'These have other contents, and share parts of it:', plan.sharing);
}

/** What no program here can reach, said every time. */
function printLimits({ output }: CommandContext, result: EraseResult): void {
  const said = [
    'Not reached: backups and copies of this log, mirrors until they next follow, whoever received or imported it, exported messages, ' +
      'what other programs have read, and the free space of the disk.'
  ];
  if (result.onDisk.length > 0) said.push(`Still on disk, and not removed there: ${result.onDisk.join(', ')}.`);
  if (result.unreadCopies.length > 0) {
    said.push(
      `What these copies of sealed segments hold cannot be told from outside; delete them by hand: ${result.unreadCopies.join(', ')}.`
    );
  }
  if (result.otherDevices.length > 0) {
    said.push(`Recorded by other devices too, who may bring their copy back: ${result.otherDevices.join(', ')}.`);
  }
  said.push('A secret that was out must be changed where it is used.');
  for (const line of said) output.note(line);
}

async function confirmed(context: CommandContext): Promise<boolean> {
  if (context.invocation.flags.has('yes')) return true;
  if (context.output.json || process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
    throw new SyftError('BAD_REQUEST', 'Nothing was erased: say --yes.');
  }
  const dialog = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await dialog.question('Erase this content for ever? [y/N] ')).trim());
  } finally {
    dialog.close();
  }
}

export async function eraseCommand(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const shared = sharedOf(context);
  const request: EraseRequest = { hash: await hashOf(context), ...(shared !== undefined && { shared }) };
  const plan = await askRecorder(context, { ...request, dryRun: true });
  const dryRun = invocation.flags.has('dry-run');
  if (dryRun || !output.json) await printPlan(context, plan);
  if (dryRun) return 0;
  if (plan.sharing.length > 0 && shared === undefined) {
    if (output.json) await printPlan(context, plan);
    throw new SyftError(
      'CONTENT_SHARED',
      `${plan.sharing.length} versions with other contents share parts of this one. Erase them too (--with-shared), or keep what they need (--keep-shared) when the secret is not in them.`
    );
  }
  if (!(await confirmed(context))) {
    await output.write('nothing was erased\n');
    return 0;
  }
  const done = await askRecorder(context, request);
  if (output.json) await output.write(jsonLine(done));
  else {
    const copies = done.copies.length === 0 ? '' : `, and ${done.copies.length} copies in the log directory`;
    await output.write(
      `erased: ${done.versions.length} versions, ${readableSize(done.freedBytes)}${copies}; recorded as ${done.act ?? ''}\n`
    );
  }
  printLimits(context, done);
  return 0;
}
