/** `prove`, `prove-history` and `verify-proof`: what a log holds, shown to whoever does not have it. */
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { changeToJson, versionId } from '../core/change.ts';
import { SyftError, errnoOf } from '../core/errors.ts';
import {
  decodeHistoryProof,
  decodeProof,
  encodeHistoryProof,
  encodeProof,
  historyProof,
  inclusionProof,
  verifyHistoryProof,
  verifyInclusionProof,
  type Proven
} from '../log/prove.ts';
import type { CommandContext } from './context.ts';

async function put(context: CommandContext, text: string): Promise<number> {
  const file = context.invocation.values.get('output');
  if (file === undefined) {
    await context.output.write(text);
  } else {
    await writeFile(resolve(context.cwd, file), text);
  }
  return 0;
}

async function textOf(context: CommandContext, name: string): Promise<string> {
  try {
    return await readFile(resolve(context.cwd, name), 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new SyftError('NOT_FOUND', `There is no file ${name}.`, { cause: error });
    throw error;
  }
}

/** What the proof that the command line names shows. */
async function provenBy(context: CommandContext): Promise<Proven & { readonly publicKey: Buffer }> {
  const [name = ''] = context.invocation.args;
  const proof = decodeProof(await textOf(context, name));
  const proven = verifyInclusionProof(proof);
  if (proven === undefined) throw new SyftError('ARCHIVE_INVALID', `${name} proves nothing.`);
  return { ...proven, publicKey: proof.publicKey };
}

/** @param version The whole id of the version that is meant. */
export async function proveCommand(context: CommandContext, version: string): Promise<number> {
  const keys = await context.keysOf(context.logDir);
  return put(context, encodeProof(inclusionProof(context.logDir, version, keys)));
}

export async function proveHistoryCommand(context: CommandContext): Promise<number> {
  const proven = await provenBy(context);
  const keys = await context.keysOf(context.logDir);
  return put(context, encodeHistoryProof(historyProof(context.logDir, proven, keys)));
}

export async function verifyProofCommand(context: CommandContext): Promise<number> {
  const proven = await provenBy(context);
  const { change, workspace, checkpoint } = proven;
  const history = context.invocation.values.get('history');
  const later =
    history === undefined
      ? undefined
      : verifyHistoryProof(decodeHistoryProof(await textOf(context, history)), proven, proven.publicKey);
  if (history !== undefined && later === undefined) {
    throw new SyftError('ARCHIVE_INVALID', `${history} does not prove that the log still has what it had.`);
  }
  const tree = ({ size, root }: typeof checkpoint): object => ({ size, root: root.toString('base64') });
  const result = {
    proven: changeToJson(change),
    workspace,
    publicKey: proven.publicKey.toString('base64'),
    checkpoint: tree(checkpoint),
    ...(later !== undefined && { later: tree(later) })
  };
  const since = later === undefined ? '' : `, and still had all of it at ${later.size} changes`;
  await context.output.result(
    result,
    `${versionId(change)} ${change.kind} ${result.proven.path} was recorded${since}, says the device with the key ${result.publicKey}`
  );
  return 0;
}
