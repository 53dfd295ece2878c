/** `compact`: stores full segments anew, so that the log takes less room. */
import { CompactResultSchema, type CompactRequest, type CompactResult } from '../api/contract.ts';
import { SyftError } from '../core/errors.ts';
import { readableSize } from '../library/terminal-text.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

async function askRecorder(context: CommandContext, request: CompactRequest): Promise<CompactResult> {
  const started = Date.now();
  const { output, signal } = context;
  const result = await context.withRecorder(
    async control => {
      const answer = CompactResultSchema.safeParse(await control.call('POST', '/api/compact', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data;
    },
    workspace => workspace.compact(request, { signal, onProgress: p => output.progress(p, started, 'bytes') })
  );
  output.endProgress();
  return result;
}

/** Exits 3, as `fsck` does, when a segment was left as it is for its damage. */
export async function compactCommand(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const dryRun = invocation.flags.has('dry-run');
  const result = await askRecorder(context, { all: invocation.flags.has('all'), dryRun });
  if (output.json) await output.write(jsonLine({ compacted: result }));
  else {
    const would = dryRun ? 'would be' : 'were';
    await output.write(
      `${result.segments} segments ${would} stored anew, ${readableSize(result.freedBytes)} ${would} freed, ` +
        `${readableSize(result.storedBytes)} stay\n`
    );
  }
  for (const segment of result.damaged) {
    output.note(`syft-sync: ${segment} has damage and is left as it is; see syft-sync fsck --read-data`);
  }
  return result.damaged.length === 0 ? 0 : 3;
}
