/** `export`, `verify` and `import`: SyftMessages. */
import { resolve } from 'node:path';
import { ImportResultSchema, type ImportRequest } from '../api/contract.ts';
import type { Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import type { Tree } from '../core/tree.ts';
import { identitiesFromFile } from '../crypto/age.ts';
import { exportMessage } from '../library/export-message.ts';
import { checkMessage, importMessage, type ImportedMessage } from '../library/import-message.ts';
import { LogView, workspacePath } from '../library/log-view.ts';
import { isFolder, newestBelow, type Refused, type Selection } from '../library/share-selection.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { verifyMessage, type Fact } from '../messages/inspect.ts';
import { isLogDirectory } from '../log/format-file.ts';
import type { CommandContext } from './context.ts';
import { changeLine, jsonLine, type Output } from './output.ts';
import { identityFile } from './secrets.ts';

/** What was named: versions, paths for their newest ones, and folders for the newest of everything recorded below them. */
export function versionsOf(view: LogView, args: readonly string[], cwd: string): Selection {
  let tree: Tree | undefined;
  const versions = new Map<Change, Change>();
  const refused: Refused[] = [];
  for (const named of args) {
    tree ??= view.tree();
    const folder = resolve(cwd, named) === view.root ? '' : folderOf(view, tree, named, cwd);
    if (folder === undefined) {
      const { version } = view.namedOrLatest(named, cwd);
      versions.set(version, version);
      continue;
    }
    const below = newestBelow(tree, folder, view.reader);
    if (below.versions.length === 0) {
      throw new SyftError('VERSION_NOT_FOUND', `Nothing that could be sent is recorded below ${named}.`, {
        path: named
      });
    }
    for (const version of below.versions) versions.set(version, version);
    refused.push(...below.refused);
  }
  return { versions: [...versions.values()], refused };
}

/** The folder that is named; `undefined`: it is a version, or a file. */
function folderOf(view: LogView, tree: Tree, named: string, cwd: string): PathName | undefined {
  let path: PathName;
  try {
    path = view.pathOf(named, cwd);
  } catch (error) {
    if (error instanceof SyftError && error.code === 'PATH_OUTSIDE_ROOT') return undefined;
    throw error;
  }
  return isFolder(tree, path) ? path : undefined;
}

export async function exportCommand(context: CommandContext): Promise<number> {
  const { invocation, output, signal, cwd, root, logDir } = context;
  const file = invocation.values.get('output');
  if (file === undefined) throw new SyftError('BAD_REQUEST', 'Say where the message goes: -o FILE.syft');
  const started = Date.now();
  const keys = await context.keysOf(logDir);
  await using view = await LogView.open({ dir: logDir, keys }, root);
  const { versions, refused } = versionsOf(view, invocation.args, cwd);
  const result = await exportMessage({ logDir, log: view.reader, keys }, versions, resolve(cwd, file), {
    sender: invocation.values.get('from'),
    recipients: invocation.to,
    note: invocation.values.get('note'),
    replyTo: invocation.values.get('reply-to'),
    signal,
    onProgress: progress => output.progress({ ...progress, bytes: progress.done }, started, 'bytes')
  });
  output.endProgress();
  const count = result.versions.length === 1 ? '1 file' : `${result.versions.length} files`;
  const sealed = result.sealed ? ', sealed for its recipients' : '';
  noteRefused(output, refused);
  const told = refused.length === 0 ? result : { ...result, refused };
  await output.result(told, `${result.file}: ${result.messageId}, ${count}, ${readableSize(result.bytes)}${sealed}`);
  noteUnproven(output, result.unproven);
  return 0;
}

/** Says what was named and is not sent. */
export function noteRefused(output: Output, refused: readonly Refused[]): void {
  for (const { path, reason } of refused) output.note(`syft-sync: ${path} is not sent. ${reason}`);
}

/** Says which versions a message can only claim to have been recorded. */
export function noteUnproven(output: Output, unproven: readonly string[]): void {
  for (const version of unproven) {
    output.note(
      `syft-sync: no signed checkpoint covers ${version} yet, so the message only claims that it was recorded; one is written within seconds while recording, and at its end`
    );
  }
}

export async function verifyCommand(context: CommandContext): Promise<number> {
  const { invocation, output, signal, cwd } = context;
  const started = Date.now();
  const identities = identityFile(context);
  const result = await verifyMessage(resolve(cwd, invocation.args[0] ?? ''), {
    ...(identities !== undefined && { identities: identitiesFromFile(identities) }),
    signal,
    onProgress: progress => output.progress({ ...progress, bytes: progress.done }, started, 'bytes')
  });
  output.endProgress();
  if (output.json) await output.write(jsonLine(result));
  else if (!result.ok) await output.write(`failed: ${printable(result.failed ?? '')}\n`);
  else {
    const list = (heading: string, facts: readonly Fact[]): string =>
      facts.length === 0 ? '' : `${heading}\n${facts.map(({ text }) => `  ${printable(text)}\n`).join('')}`;
    await output.write(`${list('proven', result.proven)}${list('only claimed', result.claimed)}`);
  }
  return result.ok ? 0 : 3;
}

/** Imports by the recorder, or by this process where none records. */
export async function askRecorder(
  context: CommandContext,
  request: ImportRequest
): Promise<Omit<ImportedMessage, 'sender'>> {
  const { output, signal } = context;
  const started = Date.now();
  const { identityFile: identities, to, trust, archive } = request;
  return context.withRecorder(
    async control => {
      const answer = ImportResultSchema.safeParse(await control.call('POST', '/api/import', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data as Omit<ImportedMessage, 'sender'>;
    },
    workspace =>
      importMessage(workspace, archive, {
        to: to === undefined ? '' : workspace.insidePath(to),
        trust,
        ...(identities !== undefined && { identities: identitiesFromFile(identities) }),
        signal,
        onProgress: progress => output.progress({ ...progress, bytes: progress.done }, started, 'bytes')
      })
  );
}

export async function importCommand(context: CommandContext): Promise<number> {
  const { invocation, cwd, root } = context;
  const [named = ''] = invocation.args;
  const to = invocation.values.get('to');
  const identities = identityFile(context);
  const folder = to === undefined || resolve(cwd, to) === root ? undefined : workspacePath(root, to, cwd);
  const request: ImportRequest = {
    archive: resolve(cwd, named),
    trust: invocation.flags.has('trust'),
    ...(folder !== undefined && { to: folder }),
    ...(identities !== undefined && { identityFile: identities })
  };
  // Where no log is yet, none is begun for a message that is refused.
  if (!isLogDirectory(context.logDir)) {
    await checkMessage(request.archive, context.logDir, {
      trust: request.trust,
      ...(identities !== undefined && { identities: identitiesFromFile(identities) }),
      signal: context.signal
    });
  }
  await printImported(context, await askRecorder(context, request));
  return 0;
}

/** What an import did: each change, and what was there already. */
export async function printImported(
  { output }: CommandContext,
  result: Omit<ImportedMessage, 'sender'>
): Promise<void> {
  output.endProgress();
  if (output.json) {
    const { changes, ...rest } = result;
    for (const change of changes) await output.write(jsonLine(change));
    await output.write(jsonLine({ imported: { ...rest, changes: changes.map(({ versionId }) => versionId) } }));
    return;
  }
  for (const change of result.changes) await output.write(`${printable(changeLine(change))}\n`);
  for (const path of result.unchanged) output.note(`${path} was there already`);
}
