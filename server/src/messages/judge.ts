/**
 * What a message is, in a form that is kept beside it: so that a list of messages reads no archive. How well its sender is known is not in
 * it, for that changes; nor is anything longer than a list needs, for a stranger wrote it.
 */
import * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { displayPath, pathBase64 } from '../core/path-name.ts';
import { ArchiveFault } from './archive-fault.ts';
import type { ArchiveSource } from './archive-source.ts';
import { inspect, type Fact, type Inspected, type MessageFile } from './inspect.ts';
import { Archive, type OpenArchiveOptions } from './read-archive.ts';

/** Files, and facts of each kind, that are kept of one message; their bytes of JSON as well. */
const MOST_LISTED = 10_000;
const MOST_BYTES = 8 * 2 ** 20;
/** Characters of a name or a path, and of a note, in a list. */
const NAME_LENGTH = 1000;
const NOTE_LENGTH = 4000;
const NAMES_SHOWN = 100;
const PATHS_SHOWN = 20;

const COUNT = z.number().int().nonnegative();
const SenderSchema = z.object({ name: z.string(), publicKey: z.string().optional() });

export const VerdictSchema = z.object({
  /** `whole`: all that can be checked holds. `locked`: sealed, and no identity opened it. */
  state: z.enum(['whole', 'altered', 'locked']),
  /** Why it is not whole: a sentence. */
  problem: z.string().optional(),
  sealed: z.boolean(),
  messageId: z.string().optional(),
  form: z.enum(['syft-sync', 'SyftMessage v1', 'syft events']).optional(),
  sender: SenderSchema.optional(),
  recipients: z.array(z.string()),
  note: z.string().optional(),
  replyTo: z.string().optional(),
  at: z.string().optional(),
  files: COUNT,
  bytes: COUNT,
  paths: z.array(z.string())
});
export type Verdict = z.infer<typeof VerdictSchema>;

const FactSchema = z.object({
  fact: z.string(),
  text: z.string(),
  path: z.string().optional(),
  value: z.union([z.string(), z.number()]).optional()
});

export const DetailSchema = z.object({
  note: z.string().optional(),
  fileList: z.array(
    z.object({
      path: z.string(),
      pathBase64: z.string().optional(),
      size: COUNT,
      hash: z.string(),
      versionId: z.string().optional(),
      source: z.union([z.object({ member: z.string() }), z.object({ event: COUNT })]).optional()
    })
  ),
  proven: z.array(FactSchema),
  claimed: z.array(FactSchema)
});
export type Detail = z.infer<typeof DetailSchema>;
export type ListedFile = Detail['fileList'][number];

export interface Judged {
  readonly verdict: Verdict;
  readonly detail: Detail;
}

const NO_DETAIL: Detail = { fileList: [], proven: [], claimed: [] };

/** So much of a text as a list shows. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`;
}

/** As many as may be kept. */
function bounded<T>(items: readonly T[]): T[] {
  const kept: T[] = [];
  let bytes = 0;
  for (const item of items) {
    bytes += JSON.stringify(item).length;
    if (kept.length >= MOST_LISTED || bytes > MOST_BYTES) break;
    kept.push(item);
  }
  return kept;
}

function listed({ path, size, hash, versionId, source }: MessageFile): ListedFile {
  const base64 = pathBase64(path);
  return {
    path: displayPath(path),
    ...(base64 !== undefined && { pathBase64: base64 }),
    size,
    hash,
    ...(versionId !== undefined && { versionId }),
    source
  };
}

/** The parts of a summary that a list shows of a message, from whoever it is. */
export function shownOf(
  said: Pick<Inspected, 'sender' | 'recipients' | 'note' | 'replyTo' | 'at'> & {
    readonly files: readonly { readonly path: string; readonly size: number }[];
  }
): Omit<Verdict, 'state' | 'sealed'> {
  const { sender, recipients, note, replyTo, at, files } = said;
  return {
    sender: {
      name: cut(sender.name, NAME_LENGTH),
      ...(sender.publicKey !== undefined && { publicKey: sender.publicKey })
    },
    recipients: recipients.slice(0, NAMES_SHOWN).map(name => cut(name, NAME_LENGTH)),
    ...(note !== undefined && { note: cut(note, NOTE_LENGTH) }),
    ...(replyTo !== undefined && { replyTo: cut(replyTo, NAME_LENGTH) }),
    ...(at !== undefined && { at: cut(at, 100) }),
    files: files.length,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    paths: files.slice(0, PATHS_SHOWN).map(({ path }) => cut(path, NAME_LENGTH))
  };
}

function whole(inspected: Inspected): Judged {
  const { id, form, sealed, note, files, proven, claimed } = inspected;
  const list = files.map(listed);
  const facts = (all: readonly Fact[]): Detail['proven'] => bounded(all.map(fact => ({ ...fact })));
  return {
    verdict: {
      ...shownOf({ ...inspected, files: list }),
      state: 'whole',
      sealed,
      messageId: cut(id, NAME_LENGTH),
      form
    },
    detail: {
      ...(note !== undefined && { note }),
      fileList: bounded(list),
      proven: facts(proven),
      claimed: facts(claimed)
    }
  };
}

function notWhole(state: 'altered' | 'locked', problem: string, sealed: boolean): Judged {
  return {
    verdict: { state, problem: cut(problem, NAME_LENGTH), sealed, recipients: [], files: 0, bytes: 0, paths: [] },
    detail: NO_DETAIL
  };
}

/**
 * Reads a message whole and says what it is. One that does not hold, or cannot be opened, is an answer and no error.
 *
 * @param source Closed at the end.
 * @throws SyftError UNREADABLE, LOG_DAMAGED, CANCELLED.
 */
export async function judge(source: ArchiveSource, options: OpenArchiveOptions = {}): Promise<Judged> {
  await using archive = await Archive.open(source, options);
  const { sealed } = archive;
  try {
    return whole(await inspect(archive));
  } catch (error) {
    if (error instanceof ArchiveFault) return notWhole('altered', `It is refused: ${error.message}.`, sealed);
    if (error instanceof SyftError && error.code === 'KEY_MISSING') {
      return notWhole('locked', 'It is sealed, and this installation has no age identity to open it with.', sealed);
    }
    if (error instanceof SyftError && (error.code === 'KEY_MISMATCH' || error.code === 'BAD_REQUEST')) {
      return notWhole('locked', error.message, sealed);
    }
    throw error;
  }
}
