/** `prove` and `verify-proof`: that a version was recorded, shown to whoever does not have the log. */
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { changeToJson, versionId } from '../core/change.ts';
import { SyftError, errnoOf } from '../core/errors.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../log/prove.ts';
import type { CommandContext } from './context.ts';

/** @param version The whole id of the version that is meant. */
export async function proveCommand(context: CommandContext, version: string): Promise<number> {
  const text = encodeProof(inclusionProof(context.logDir, version));
  const file = context.invocation.values.get('output');
  if (file === undefined) {
    await context.output.write(text);
  } else {
    await writeFile(resolve(context.cwd, file), text);
  }
  return 0;
}

export async function verifyProofCommand(context: CommandContext): Promise<number> {
  const [name = ''] = context.invocation.args;
  let text: string;
  try {
    text = await readFile(resolve(context.cwd, name), 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new SyftError('NOT_FOUND', `There is no file ${name}.`, { cause: error });
    throw error;
  }
  const proof = decodeProof(text);
  const proven = verifyInclusionProof(proof);
  if (proven === undefined) throw new SyftError('ARCHIVE_INVALID', `${name} proves nothing.`);
  const { change, workspace, checkpoint } = proven;
  const result = {
    proven: changeToJson(change),
    workspace,
    publicKey: proof.publicKey.toString('base64'),
    checkpoint: { size: checkpoint.size, root: checkpoint.root.toString('base64') }
  };
  await context.output.result(
    result,
    `${versionId(change)} ${change.kind} ${result.proven.path} was recorded, says the device with the key ${result.publicKey}`
  );
  return 0;
}
