/**
 * The HTTP contract: every route and every type that crosses the wire, declared once with zod.
 * The sidecar validates with these schemas, the front end infers its types from them, and docs/openapi.json is generated
 * from them. All routes live below `/api`; all bodies are JSON unless stated.
 */
import * as z from 'zod';

/** Raised when either side can no longer understand the other; the panel compares it at start. */
export const API_VERSION = 1;

export const ChangeKindSchema = z.enum(['created', 'modified', 'deleted', 'moved']);
export const EntryTypeSchema = z.enum(['file', 'symlink', 'directory']);
export const ChangeFlagSchema = z.enum(['torn', 'no-content', 'unreadable']);

export const CauseSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('restore'), version: z.string() }),
  z.object({ kind: z.literal('received'), workspace: z.string(), version: z.string() }),
  z.object({ kind: z.literal('jupyter-save'), user: z.string().optional() }),
  z.object({ kind: z.literal('message'), message: z.string(), version: z.string().optional() })
]);

/** One change, as in the CLI's `--json`. */
export const ChangeSchema = z.object({
  versionId: z.string().meta({ description: '`<device>.<seq>`' }),
  kind: ChangeKindSchema,
  path: z
    .string()
    .meta({ description: 'Relative to the workspace, `/`-separated; bytes that are not UTF-8 as `\\xHH`' }),
  pathBase64: z.string().optional().meta({ description: 'Exact name when it is not UTF-8' }),
  at: z.string().meta({ description: 'ISO 8601 UTC with microseconds' }),
  size: z.number().int().nonnegative().optional().meta({ description: 'Bytes; absent for deleted and directories' }),
  hash: z.string().optional().meta({ description: '`sha256:` + 64 hex digits' }),
  previousHash: z.string().optional(),
  device: z.string(),
  mode: z.number().int().optional().meta({ description: 'POSIX permission bits, decimal' }),
  mtime: z.string().optional(),
  type: EntryTypeSchema,
  flags: z.array(ChangeFlagSchema),
  from: z.string().optional().meta({ description: 'Only for moved' }),
  fromBase64: z.string().optional(),
  cause: CauseSchema.optional()
});
export type ChangeDto = z.infer<typeof ChangeSchema>;

export const PolicyTextSchema = z.object({
  keepAll: z.string().optional().meta({ description: 'Every version of this age, such as 36h, 7d, 8w, 1y, forever' }),
  hourly: z.string().optional().meta({ description: 'The newest of each hour, up to this age' }),
  daily: z.string().optional(),
  weekly: z.string().optional(),
  budget: z
    .union([z.string(), z.number()])
    .optional()
    .meta({ description: 'What the log may take, such as 5GB; the oldest go' }),
  timeZone: z.string().optional().meta({ description: 'Whose hours, days and weeks; default UTC' })
});

/** How a version lost its content; the record of it stays. */
export const DroppedSchema = z.object({
  act: z.enum(['prune', 'erase']),
  at: z.string().meta({ description: 'ISO 8601 UTC with microseconds' }),
  versionId: z.string().meta({ description: 'The record that says so' }),
  by: z.string().optional(),
  policy: PolicyTextSchema.optional()
});

/**
 * A change in a list for people: with the size of the version before it, so that a row can say what changed in size, and with
 * what was said of the version since.
 */
export const ChangeRowSchema = ChangeSchema.extend({
  previousSize: z.number().int().nonnegative().optional(),
  previousVersionId: z.string().optional(),
  labels: z.array(z.string()).optional(),
  pinned: z.literal(true).optional(),
  dropped: DroppedSchema.optional().meta({ description: 'Present when its content was pruned or erased' })
});
export type ChangeRow = z.infer<typeof ChangeRowSchema>;

export const RecordingStateSchema = z.enum([
  'starting',
  'recording',
  'paused',
  'error',
  'setup-needed',
  'read-only',
  'stopped'
]);

export const StatusSchema = z.object({
  apiVersion: z.number().int(),
  version: z.string().meta({ description: 'Version of syft-sync' }),
  pid: z.number().int(),
  state: RecordingStateSchema,
  root: z.string().meta({ description: 'Absolute path of the workspace' }),
  logDir: z.string(),
  device: z.string().optional(),
  workspaceId: z.string().optional(),
  startedAt: z.string(),
  pending: z.number().int().nonnegative().meta({ description: 'Paths seen to change and not yet durable' }),
  files: z.number().int().nonnegative().meta({ description: 'Files tracked now' }),
  versions: z.number().int().nonnegative(),
  contentBytes: z
    .number()
    .nonnegative()
    .meta({ description: 'Bytes of all versions, before deduplication and compression' }),
  storedBytes: z.number().nonnegative().meta({ description: 'Bytes the log takes on disk' }),
  progress: z.object({ done: z.number(), total: z.number(), bytes: z.number() }).optional(),
  skipped: z.number().int().nonnegative().meta({ description: 'Special files (FIFOs, sockets, devices) passed over' }),
  watcher: z.object({ kind: z.string(), healthy: z.boolean(), detail: z.string().optional() }).optional(),
  index: z.object({ ready: z.boolean(), detail: z.string().optional() }),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  damage: z
    .array(z.object({ kind: z.string(), where: z.string(), message: z.string() }))
    .optional()
    .meta({ description: 'Damage of the log found since it was opened: rewritten, cut off or unreadable' }),
  setup: z
    .object({
      reason: z.enum(['home', 'filesystem-root', 'too-many-files']),
      files: z.number().int().optional(),
      folders: z.array(z.object({ path: z.string(), files: z.number().int().optional() }))
    })
    .optional()
    .meta({ description: 'Present in state setup-needed: why, and the folders one can choose from' }),
  include: z
    .array(z.string())
    .optional()
    .meta({ description: 'The folders chosen, when not the whole root is recorded' })
});
export type Status = z.infer<typeof StatusSchema>;

export const ErrorSchema = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    path: z.string().optional(),
    position: z.object({ offset: z.number().int(), line: z.number().int(), column: z.number().int() }).optional().meta({
      description: 'Where in a query: offset from 0, line and column from 1, all in UTF-16 code units'
    })
  })
});
export type ErrorDto = z.infer<typeof ErrorSchema>;

const Limit = z.coerce.number().int().min(1).max(5000);

export const ChangesQuerySchema = z.object({
  limit: Limit.default(200),
  before: z.string().optional().meta({ description: 'Cursor from `next`: older than this' }),
  after: z.string().optional().meta({ description: 'A version id: only changes newer than it' }),
  /** Exact path, or everything below it with `under`. */
  path: z.string().optional(),
  under: z
    .string()
    .optional()
    .meta({ description: 'A folder: changes of it and of everything below it, moves out of it included' }),
  kind: ChangeKindSchema.optional(),
  q: z.string().max(500).optional().meta({ description: 'Case-insensitive part of the path' }),
  since: z.string().optional(),
  until: z.string().optional()
});
export type ChangesQuery = z.input<typeof ChangesQuerySchema>;

export const ChangesPageSchema = z.object({
  changes: z.array(ChangeRowSchema).meta({ description: 'Newest first' }),
  next: z.string().optional().meta({ description: 'Cursor for the next, older page; absent at the end' }),
  total: z.number().int().nonnegative().meta({ description: 'Changes that match, all pages' })
});
export type ChangesPage = z.infer<typeof ChangesPageSchema>;

export const HistoryQuerySchema = z.object({
  path: z.string(),
  limit: Limit.default(500),
  before: z.string().optional()
});
/** Versions of one path newest first, followed back across moves, and what is on disk now. */
export const HistorySchema = ChangesPageSchema.extend({
  path: z.string(),
  exists: z.boolean().meta({ description: 'The path exists in the tree now' }),
  recorded: z.boolean().meta({ description: 'False when the path is excluded or outside the recorded folders' })
});
export type History = z.infer<typeof HistorySchema>;

export const TreeQuerySchema = z.object({
  at: z.string().optional(),
  under: z.string().optional()
});
export const TreeEntrySchema = z.object({
  path: z.string(),
  pathBase64: z.string().optional(),
  versionId: z.string(),
  type: EntryTypeSchema,
  size: z.number().int().optional(),
  hash: z.string().optional(),
  mode: z.number().int().optional(),
  mtime: z.string().optional()
});
export type TreeEntry = z.infer<typeof TreeEntrySchema>;
export const TreeSchema = z.object({ entries: z.array(TreeEntrySchema) });

export const DeletedQuerySchema = z.object({
  under: z.string().optional(),
  q: z.string().max(500).optional(),
  limit: Limit.default(500)
});
/** Paths that are gone now, with the last version that has content. Newest deletion first. */
export const DeletedSchema = z.object({
  files: z.array(z.object({ path: z.string(), deleted: ChangeRowSchema, last: ChangeRowSchema }))
});
export type Deleted = z.infer<typeof DeletedSchema>;

export const RestoreRequestSchema = z.object({
  versionId: z.string(),
  to: z.string().optional().meta({ description: 'Workspace path to restore to; default: the path of the version' }),
  toBase64: z.string().optional().meta({ description: 'The exact bytes of `to`, in base64; wins over `to`' }),
  asCopy: z
    .boolean()
    .optional()
    .meta({ description: 'Restore beside the original under a free name such as `a (restored 2026-11-24 14.05).csv`' }),
  dryRun: z.boolean().optional(),
  force: z.boolean().optional().meta({ description: 'Overwrite even what cannot be recorded first' })
});
export type RestoreRequest = z.infer<typeof RestoreRequestSchema>;

export const RestoreResultSchema = z.object({
  path: z.string(),
  versionId: z.string().meta({ description: 'The version that was put back' }),
  unchanged: z.boolean().meta({ description: 'The file already had this content; nothing was written' }),
  replaced: z.string().optional().meta({ description: 'Version id of the state before; restore it to undo' }),
  created: z.boolean().meta({ description: 'Nothing stood there before; undo by deleting' }),
  change: ChangeSchema.optional().meta({ description: 'The change that the restore made' })
});
export type RestoreResult = z.infer<typeof RestoreResultSchema>;

/** Undo of a restore that created a file: records its state and removes it, if it still is what the restore wrote. */
export const RemoveRequestSchema = z.object({ path: z.string(), ifVersion: z.string() });
export type RemoveRequest = z.infer<typeof RemoveRequestSchema>;
export const RemoveResultSchema = z.object({ path: z.string(), change: ChangeSchema.optional() });
export type RemoveResult = z.infer<typeof RemoveResultSchema>;

/** Labels or pins a version, or takes it back: such a version keeps its content whatever policy is set. */
export const MarkRequestSchema = z.object({
  versionId: z.string(),
  act: z.enum(['label', 'unlabel', 'pin', 'unpin']),
  name: z
    .string()
    .max(1000)
    .optional()
    .meta({ description: 'The label: 1 to 200 characters on one line; `unlabel` without it takes all labels' })
});
export type MarkRequest = z.infer<typeof MarkRequestSchema>;
export const MarkResultSchema = z.object({
  versionId: z.string(),
  labels: z.array(z.string()),
  pinned: z.boolean(),
  changed: z.boolean().meta({ description: 'False when it was so already; nothing was recorded' })
});
export type MarkResult = z.infer<typeof MarkResultSchema>;

/** Drops the contents that a policy does not keep. Their records stay, and never does the last content of a file go. */
export const PruneRequestSchema = z.object({ policy: PolicyTextSchema, dryRun: z.boolean().optional() });
export type PruneRequest = z.infer<typeof PruneRequestSchema>;
export const LostVersionSchema = z.object({
  versionId: z.string(),
  path: z.string(),
  at: z.string(),
  size: z.number().int().nonnegative()
});
export const PruneResultSchema = z.object({
  dryRun: z.boolean(),
  policy: PolicyTextSchema,
  versions: z.number().int().nonnegative().meta({ description: 'Versions that lose their content' }),
  contents: z.number().int().nonnegative(),
  freedBytes: z.number(),
  storedBytes: z.number().meta({ description: 'Bytes of all segments afterwards' }),
  budget: z.object({ limit: z.number(), met: z.boolean() }).optional(),
  act: z.string().optional().meta({ description: 'The record that says so' }),
  lost: z.array(LostVersionSchema)
});
export type PruneResult = z.infer<typeof PruneResultSchema>;

/** Erases one content from every version that has it. Its records stay. */
export const EraseRequestSchema = z.object({
  hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .meta({ description: 'SHA-256 of the content, 64 hex digits' }),
  shared: z
    .enum(['with', 'keep'])
    .optional()
    .meta({ description: 'Contents that share parts of it: erased too, or what they need is kept. Absent: refused' }),
  dryRun: z.boolean().optional()
});
export type EraseRequest = z.infer<typeof EraseRequestSchema>;
export const EraseResultSchema = z.object({
  hash: z.string(),
  dryRun: z.boolean(),
  versions: z.array(LostVersionSchema).meta({ description: 'Versions that have the content' }),
  sharing: z.array(LostVersionSchema).meta({ description: 'Versions of other contents that share parts of it' }),
  freedBytes: z.number(),
  copies: z.array(z.string()).meta({ description: 'Copies in the log directory that were removed' }),
  unreadCopies: z
    .array(z.string())
    .meta({ description: 'Copies of sealed segments in the log directory, which may still have it and were left' }),
  otherDevices: z.array(z.string()).meta({ description: 'Devices that may bring their own copy back' }),
  onDisk: z.array(z.string()).meta({ description: 'Files of the workspace that have this content now' }),
  act: z.string().optional().meta({ description: 'The record that says so' })
});
export type EraseResult = z.infer<typeof EraseResultSchema>;

/** Stores the contents of full segments anew, so that they take less room. Nothing goes. */
export const CompactRequestSchema = z.object({
  all: z
    .boolean()
    .optional()
    .meta({ description: 'What was recorded last too, however little it is: its segment ends, and a new one begins' }),
  dryRun: z.boolean().optional()
});
export type CompactRequest = z.infer<typeof CompactRequestSchema>;
export const CompactResultSchema = z.object({
  dryRun: z.boolean(),
  segments: z.number().int().nonnegative().meta({ description: 'Segments that were written anew' }),
  freedBytes: z.number(),
  storedBytes: z.number().meta({ description: 'Bytes of all segments afterwards' }),
  damaged: z.array(z.string()).meta({ description: 'Segments that were left as they are because they have damage' })
});
export type CompactResult = z.infer<typeof CompactResultSchema>;

/** Takes the files of a message into the workspace. */
export const ImportRequestSchema = z.object({
  archive: z
    .string()
    .min(1)
    .max(8192)
    .meta({ description: 'Absolute path of the `.syft` file, on the machine that records' }),
  to: z
    .string()
    .max(8192)
    .optional()
    .meta({ description: 'Folder of the workspace that its files go below; default the top' }),
  trust: z.boolean().optional().meta({
    description: 'Believe a sender who is not known yet, from now on; of a message that is not signed, for this once'
  }),
  identityFile: z.string().max(8192).optional().meta({ description: 'Absolute path of a file with age identities' })
});
export type ImportRequest = z.infer<typeof ImportRequestSchema>;
export const ImportResultSchema = z.object({
  messageId: z.string(),
  sender: z.object({ name: z.string(), publicKey: z.string().optional().meta({ description: 'Ed25519, base64' }) }),
  standing: z
    .enum(['own', 'known', 'new', 'changed', 'unsigned'])
    .meta({ description: 'How well the sender was known before' }),
  fingerprint: z.string().optional().meta({ description: 'Words of the sender’s key' }),
  note: z.string().optional(),
  changes: z.array(ChangeSchema),
  unchanged: z.array(z.string()).meta({ description: 'Files that were there already, with the same content' }),
  notDeleted: z
    .array(z.string())
    .meta({ description: 'Files that the message says were deleted where it comes from; an import deletes nothing' })
});
export type ImportResult = z.infer<typeof ImportResultSchema>;

/**
 * What is to be thought of a message. `verified`: signature, hashes and proofs hold, and the sender is known or is this installation;
 * `new-sender`: all holds, and the key is not known here; `changed-sender`: a known name with another key; `unsigned`: OpenMined's own
 * forms, whose hashes hold and which anybody can have made; `altered`: it does not hold; `locked`: sealed, and nothing here opens it.
 */
export const MessageStateSchema = z.enum(['verified', 'new-sender', 'changed-sender', 'unsigned', 'altered', 'locked']);
export type MessageState = z.infer<typeof MessageStateSchema>;
export const MessageBoxSchema = z.enum(['inbox', 'outbox']);
export type MessageBoxName = z.infer<typeof MessageBoxSchema>;

const MessageIdSchema = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'this is not the id of a message')
  .meta({
    description: 'The first 32 hex digits of the SHA-256 of the `.syft` file, of the outbox of the message’s id'
  });

/** A file of a message, and what stands at its path in the workspace now. */
export const MessageFileSchema = z.object({
  path: z.string(),
  pathBase64: z.string().optional(),
  size: z.number().int().nonnegative(),
  hash: z.string().optional().meta({ description: '`sha256:` + 64 hex digits' }),
  versionId: z.string().optional().meta({ description: 'Its version at the sender' }),
  kind: z.enum(['text', 'notebook', 'image', 'table', 'other']).optional(),
  here: z
    .enum(['same', 'different', 'missing', 'deleted'])
    .meta({ description: 'Against the same path, here and now' }),
  hereVersionId: z.string().optional().meta({ description: 'The version here that it is compared with' })
});
export type MessageFileDto = z.infer<typeof MessageFileSchema>;

/** Something that follows from the bytes of a message, or that it only says. */
export const MessageFactSchema = z.object({
  fact: z.string(),
  text: z.string().meta({ description: 'A sentence' }),
  path: z.string().optional(),
  value: z.union([z.string(), z.number()]).optional()
});
export type MessageFact = z.infer<typeof MessageFactSchema>;

export const MessageSummarySchema = z.object({
  id: MessageIdSchema,
  box: MessageBoxSchema,
  state: MessageStateSchema,
  problem: z.string().optional().meta({ description: 'A sentence, of altered, locked and changed-sender' }),
  messageId: z.string().optional(),
  form: z.enum(['syft-sync', 'SyftMessage v1', 'syft events']).optional(),
  sender: z
    .object({
      name: z.string(),
      fingerprint: z.string().optional().meta({ description: 'Five words of the key' }),
      publicKey: z.string().optional().meta({ description: 'Ed25519, base64' }),
      own: z.boolean().meta({ description: 'Signed by this installation' })
    })
    .optional(),
  recipients: z.array(z.string()),
  note: z.string().optional(),
  replyTo: z.string().optional().meta({ description: 'The message id that it answers' }),
  at: z
    .string()
    .optional()
    .meta({ description: 'ISO 8601: when its newest version was recorded, by the sender’s clock' }),
  receivedAt: z.string().meta({ description: 'ISO 8601; of the outbox when it was sent' }),
  read: z.boolean(),
  size: z.number().int().nonnegative().meta({ description: 'Bytes of the archive' }),
  sealed: z.boolean(),
  files: z.number().int().nonnegative(),
  bytes: z.number().nonnegative().meta({ description: 'Of the contents' }),
  paths: z.array(z.string()).meta({ description: 'The first twenty' }),
  accepted: z
    .object({ at: z.string(), to: z.string().optional(), changes: z.number().int().nonnegative() })
    .optional()
    .meta({ description: 'When it was last taken into the workspace' }),
  source: z.enum(['file', 'upload', 'mailbox']).optional(),
  delivered: z.object({ contact: z.string().optional(), path: z.string().optional() }).optional()
});
export type MessageSummary = z.infer<typeof MessageSummarySchema>;

export const MessageDetailSchema = MessageSummarySchema.extend({
  fileList: z.array(MessageFileSchema).meta({ description: 'At most 10,000' }),
  proven: z.array(MessageFactSchema).meta({ description: 'What follows from its bytes; at most 10,000' }),
  claimed: z.array(MessageFactSchema).meta({ description: 'What it only says; at most 10,000' })
});
export type MessageDetail = z.infer<typeof MessageDetailSchema>;

export const MessagesQuerySchema = z.object({
  box: MessageBoxSchema.optional(),
  q: z.string().max(500).optional().meta({
    description:
      'Case-insensitive part of sender, note, a path, a recipient, or the id of the message or of what it answers'
  }),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.string().max(100).optional().meta({ description: 'Cursor from `next`: older than this' })
});
export type MessagesQuery = z.input<typeof MessagesQuerySchema>;
export const MessagesPageSchema = z.object({
  messages: z.array(MessageSummarySchema).meta({ description: 'Newest first' }),
  total: z.number().int().nonnegative().meta({ description: 'Messages that match, all pages' }),
  unread: z.number().int().nonnegative().meta({ description: 'Of the inbox, whatever was asked for' }),
  next: z.string().optional().meta({ description: 'Cursor for the next, older page; absent at the end' })
});
export type MessagesPage = z.infer<typeof MessagesPageSchema>;

const MessageFilePathSchema = z.string().min(1).max(8192).meta({ description: 'A `.syft` file in the workspace' });
const RecipientsSchema = z
  .array(z.string().min(1).max(4000))
  .max(100)
  .meta({ description: 'Names or fingerprint words of contacts, or age recipients' });

const ComparedAtSchema = z.string().max(8192).optional().meta({
  description: 'Folder of the workspace at which its files are compared; default the top'
});
export const MessageQuerySchema = z.object({ to: ComparedAtSchema });
export const InspectMessageRequestSchema = z.object({ path: MessageFilePathSchema, to: ComparedAtSchema });
export type InspectMessageRequest = z.infer<typeof InspectMessageRequestSchema>;
export const ReceiveMessageRequestSchema = z.object({ path: MessageFilePathSchema });
export type ReceiveMessageRequest = z.infer<typeof ReceiveMessageRequestSchema>;

export const MessageContentQuerySchema = z.object({
  id: MessageIdSchema.optional(),
  path: MessageFilePathSchema.optional(),
  file: z.coerce.number().int().min(0).max(1_000_000).meta({ description: 'Its place in `fileList`, from 0' }),
  download: z.string().optional().meta({ description: 'Present: as an attachment under the name of the file' })
});
export type MessageContentQuery = z.input<typeof MessageContentQuerySchema>;

/** Takes files of a message into the workspace. What stood at their places is recorded first. */
export const AcceptMessageRequestSchema = z.object({
  id: MessageIdSchema.optional(),
  path: MessageFilePathSchema.optional(),
  to: ImportRequestSchema.shape.to,
  trust: ImportRequestSchema.shape.trust,
  fingerprint: z.string().max(100).optional().meta({
    description: 'With `trust`, where the sender has a key: the words that were shown. Another key than that is refused'
  }),
  files: z.array(z.number().int().nonnegative()).min(1).max(100_000).optional().meta({
    description: 'Places in `fileList`, from 0; absent: all'
  })
});
export type AcceptMessageRequest = z.infer<typeof AcceptMessageRequestSchema>;

export const PlanMessageRequestSchema = z.object({
  versions: z.array(z.string().min(1).max(100)).max(10_000).optional().meta({ description: 'Version ids' }),
  paths: z.array(z.string().min(1).max(8192)).max(10_000).optional().meta({
    description: 'Files and folders of the workspace; of a folder the newest version of everything recorded below'
  }),
  note: z.string().max(100_000).optional(),
  recipients: RecipientsSchema.optional(),
  replyTo: z.string().max(200).optional().meta({ description: 'The message id that it answers' })
});
export type PlanMessageRequest = z.infer<typeof PlanMessageRequestSchema>;
/** What sharing would send. */
export const PlanMessageResultSchema = z.object({
  files: z
    .array(z.object({ path: z.string(), versionId: z.string(), size: z.number().int().nonnegative() }))
    .meta({ description: 'At most 10,000' }),
  bytes: z.number().nonnegative().meta({ description: 'Of all contents' }),
  refused: z
    .array(z.object({ path: z.string(), reason: z.string().meta({ description: 'A sentence' }) }))
    .meta({ description: 'What was asked for and is not sent; at most 10,000' }),
  sealed: z.boolean().meta({ description: 'Only the recipients can open it' }),
  unsealable: z
    .array(z.string())
    .meta({ description: 'Recipients no age key is known of, because of whom it is not sealed' })
});
export type PlanMessageResult = z.infer<typeof PlanMessageResultSchema>;

export const ShareMessageRequestSchema = PlanMessageRequestSchema.extend({
  encrypt: z.boolean().optional().meta({
    description:
      'true: it has to be sealed; false: it is not; not said: it is where an age key of every recipient is known, and is refused where one of some is'
  }),
  deliver: z.union([
    z.strictObject({ path: z.string().min(1).max(8192).meta({ description: 'Workspace path of the `.syft` file' }) }),
    z.strictObject({ contact: z.string().min(1).max(1000).meta({ description: 'Put into this contact’s mailbox' }) }),
    z.strictObject({ keep: z.literal(true).meta({ description: 'Only into the outbox' }) })
  ])
});
export type ShareMessageRequest = z.infer<typeof ShareMessageRequestSchema>;
export const ShareMessageResultSchema = z.object({
  id: MessageIdSchema,
  messageId: z.string(),
  path: z.string().optional(),
  files: z.number().int().nonnegative(),
  bytes: z.number().nonnegative(),
  sealed: z.boolean(),
  unproven: z.array(z.string()).meta({ description: 'Versions that no signed checkpoint covers yet' })
});
export type ShareMessageResult = z.infer<typeof ShareMessageResultSchema>;

export const RemoveMessageResultSchema = z.object({ removed: z.literal(true) });
export type RemoveMessageResult = z.infer<typeof RemoveMessageResultSchema>;
export const FetchMessagesResultSchema = z.object({
  received: z.number().int().nonnegative(),
  mailboxes: z.number().int().nonnegative(),
  problems: z.array(z.string()).meta({ description: 'Sentences' })
});
export type FetchMessagesResult = z.infer<typeof FetchMessagesResultSchema>;

/** Somebody whose key is known here, or this installation itself. */
export const ContactSchema = z.object({
  name: z.string(),
  publicKey: z.string().meta({ description: 'Ed25519, base64' }),
  fingerprint: z.string().meta({ description: 'Five words of the key' }),
  recipient: z.string().optional().meta({ description: '`age1…`: what messages to them are sealed for' }),
  mailbox: z.string().optional().meta({ description: 'URL of a storage, such as file:///… or s3://…' }),
  link: z.string()
});
export type ContactDto = z.infer<typeof ContactSchema>;
export const ContactsSchema = z.object({ me: ContactSchema, contacts: z.array(ContactSchema) });
export type ContactsDto = z.infer<typeof ContactsSchema>;
export const AddContactRequestSchema = z.union([
  z.strictObject({
    link: z.string().min(1).max(16_384),
    recipient: z.string().max(4000).optional(),
    mailbox: z.string().max(8192).optional()
  }),
  z.strictObject({
    picture: z.string().min(1).max(900_000).meta({ description: 'A PNG with the link as QR code, in base64' })
  })
]);
export type AddContactRequest = z.infer<typeof AddContactRequestSchema>;
export const ChangeMyContactRequestSchema = z.object({
  name: z.string().max(1000).optional().meta({ description: 'Empty: user and machine again' }),
  recipient: z.string().max(4000).optional().meta({ description: '`age1…`; empty: none any more' }),
  mailbox: z.string().max(8192).optional().meta({
    description: 'URL of a storage, which is made a mailbox; empty: none any more'
  })
});
export type ChangeMyContactRequest = z.infer<typeof ChangeMyContactRequestSchema>;
export const ContactPictureQuerySchema = z.object({
  name: z
    .string()
    .max(1000)
    .optional()
    .meta({ description: 'A contact, by name or the words of its key; absent: this installation' }),
  format: z.enum(['svg', 'png']).default('svg')
});
export type ContactPictureQuery = z.input<typeof ContactPictureQuerySchema>;

export const StatsSchema = z.object({
  filesCreated: z.number().int(),
  filesModified: z.number().int(),
  filesDeleted: z.number().int(),
  filesMoved: z.number().int(),
  versions: z.number().int(),
  trackedFiles: z.number().int(),
  contentBytes: z.number(),
  storedBytes: z.number(),
  runtimeSeconds: z.number(),
  startTime: z.string().optional(),
  devices: z.number().int(),
  changes: z.number().int()
});
export type Stats = z.infer<typeof StatsSchema>;

export const SetupRequestSchema = z.object({
  folders: z
    .array(z.string())
    .min(1)
    .meta({ description: 'Folders to record, relative to the root; `.` for all of it' })
});
export type SetupRequest = z.infer<typeof SetupRequestSchema>;

/** How a result comes: see `Accept` of POST /api/sql. `table` is text for a terminal, of a thousand rows at most. */
export const SqlFormatSchema = z.enum(['arrow', 'json', 'ndjson', 'csv', 'parquet', 'table']);
export type SqlFormat = z.infer<typeof SqlFormatSchema>;

/** A value of a parameter. Times are given as text and understood where a time is compared. */
const SqlScalarSchema = z.union([z.string(), z.number(), z.boolean(), z.null()]);
export const SqlValueSchema = z.union([SqlScalarSchema, z.array(SqlScalarSchema).max(100_000)]);
export type SqlValue = z.infer<typeof SqlValueSchema>;

const SqlQueryIdSchema = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'take 1 to 64 letters, digits, _ and -');

export const SqlRequestSchema = z.object({
  query: z.string().min(1).max(500_000).meta({ description: 'One statement that only reads; see docs/sql.md' }),
  parameters: z
    .union([z.array(SqlValueSchema).max(10_000), z.record(z.string(), SqlValueSchema)])
    .optional()
    .meta({ description: 'For `?` and `$1` a list, for `$name` an object' }),
  format: SqlFormatSchema.optional().meta({ description: 'Default: what `Accept` asks for, else json' }),
  maxRows: z.number().int().min(1).max(100_000_000).default(1_000_000).meta({
    description: 'Rows beyond are left out, and `truncated` of the outcome says so'
  }),
  timeoutMs: z.number().int().min(1).max(3_600_000).default(10_000),
  memoryMb: z.number().int().min(32).max(65_536).default(1024),
  queryId: SqlQueryIdSchema.optional().meta({
    description: 'A name of your choice, under which the outcome can be asked for'
  })
});
export type SqlRequest = z.infer<typeof SqlRequestSchema>;

/** What became of a query that was given a name. Kept for the last hundred. */
export const SqlOutcomeSchema = z.object({
  queryId: z.string(),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  rows: z.number().int().meta({ description: 'Sent so far' }),
  truncated: z.boolean().meta({ description: 'There were more rows than `maxRows`' }),
  elapsedMs: z.number(),
  error: ErrorSchema.shape.error.optional()
});
export type SqlOutcome = z.infer<typeof SqlOutcomeSchema>;

const SqlColumnSchema = z.object({ name: z.string(), type: z.string(), description: z.string() });
export const SqlSchemaSchema = z.object({
  tables: z.array(z.object({ name: z.string(), description: z.string(), columns: z.array(SqlColumnSchema) })),
  macros: z.array(
    z.object({
      name: z.string(),
      signature: z.string().meta({ description: 'Such as `files_at(ts)`' }),
      description: z.string(),
      example: z.string(),
      columns: z.array(SqlColumnSchema).meta({ description: 'Empty where they are those of a file' })
    })
  )
});
export type SqlSchema = z.infer<typeof SqlSchemaSchema>;

/** Server-sent events of GET /api/events. `event:` is the name, `data:` the JSON; `id:` is a change's version id. */
export interface LiveEvents {
  /** One or more changes became durable, oldest first. */
  changes: { changes: ChangeRow[] };
  /** The status changed (also sent once on connect). */
  status: Status;
  /** What was missed since `Last-Event-ID` is more than is replayed, or old rows say something else now: load afresh. */
  reset: Record<string, never>;
  /** A message came, went, was read or accepted, or is to be judged otherwise. */
  messages: { unread: number };
}

export const ContentQuerySchema = z.object({
  download: z.string().optional().meta({ description: 'Present: as an attachment under the name of the file' })
});

export const EventsQuerySchema = z.object({
  lastEventId: z
    .string()
    .max(100)
    .optional()
    .meta({ description: 'As the header `Last-Event-ID`, for readers that cannot set it' })
});

/** Applies a change set of SyftBox or `syft`. */
export const ChangeSetApplyRequestSchema = z.object({
  archive: z
    .string()
    .min(1)
    .max(8192)
    .meta({ description: 'Absolute path of the `syfteventsmessagev3_*.tar.gz`, on the machine that records' }),
  to: z
    .string()
    .max(8192)
    .optional()
    .meta({ description: 'Folder of the workspace that is the datasite; default the top' }),
  trust: z.boolean().optional().meta({ description: 'Take it though nothing proves who it is from' }),
  as: z.string().max(254).optional().meta({ description: 'Whose access counts; default who it says it is from' }),
  skipConflicts: z.boolean().optional().meta({ description: 'Apply the rest, where files were changed here too' }),
  deleteMany: z.boolean().optional().meta({ description: 'Delete more than half of the files, if it says so' }),
  dryRun: z.boolean().optional().meta({ description: 'Say what would be done' })
});
export type ChangeSetApplyRequest = z.infer<typeof ChangeSetApplyRequestSchema>;
export const ChangeSetApplyResultSchema = z.object({
  messageId: z.string(),
  sender: z.string().meta({ description: 'Whose access counted. Not proven: a change set is not signed' }),
  changes: z.array(ChangeSchema).meta({ description: 'Empty in a dry run' }),
  written: z.array(z.string()),
  deleted: z.array(z.string()),
  unchanged: z.array(z.string()).meta({ description: 'Was so already' }),
  conflicts: z
    .array(z.object({ path: z.string(), why: z.string() }))
    .meta({ description: 'Left as they are, because they are not what the change set begins with' }),
  permissions: z
    .array(z.string())
    .meta({ description: 'The `syft.pub.yaml` that gave access; none: nothing here says who may write' })
});
export type ChangeSetApplyResult = z.infer<typeof ChangeSetApplyResultSchema>;

/**
 * Every route. `GET /api/versions/{versionId}/content` answers bytes (`?download=1` for an attachment);
 * `GET /api/events` answers `text/event-stream`; `POST /api/sql` the format that was asked for.
 */
export const routes = {
  health: {
    method: 'GET',
    path: '/api/health',
    response: z.object({ ok: z.literal(true), apiVersion: z.number(), version: z.string() })
  },
  status: { method: 'GET', path: '/api/status', response: StatusSchema },
  changes: { method: 'GET', path: '/api/changes', query: ChangesQuerySchema, response: ChangesPageSchema },
  history: { method: 'GET', path: '/api/history', query: HistoryQuerySchema, response: HistorySchema },
  tree: { method: 'GET', path: '/api/tree', query: TreeQuerySchema, response: TreeSchema },
  deleted: { method: 'GET', path: '/api/deleted', query: DeletedQuerySchema, response: DeletedSchema },
  version: { method: 'GET', path: '/api/versions/{versionId}', response: ChangeRowSchema },
  content: { method: 'GET', path: '/api/versions/{versionId}/content', query: ContentQuerySchema, response: 'bytes' },
  restore: { method: 'POST', path: '/api/restore', body: RestoreRequestSchema, response: RestoreResultSchema },
  remove: { method: 'POST', path: '/api/remove', body: RemoveRequestSchema, response: RemoveResultSchema },
  marks: { method: 'POST', path: '/api/marks', body: MarkRequestSchema, response: MarkResultSchema },
  prune: { method: 'POST', path: '/api/prune', body: PruneRequestSchema, response: PruneResultSchema },
  erase: { method: 'POST', path: '/api/erase', body: EraseRequestSchema, response: EraseResultSchema },
  import: { method: 'POST', path: '/api/import', body: ImportRequestSchema, response: ImportResultSchema },
  compact: { method: 'POST', path: '/api/compact', body: CompactRequestSchema, response: CompactResultSchema },
  flush: { method: 'POST', path: '/api/flush', response: z.object({ flushed: z.literal(true) }) },
  capture: {
    method: 'POST',
    path: '/api/capture',
    response: z.object({
      captured: z.number(),
      unchanged: z.number(),
      deleted: z.number(),
      bytes: z.number(),
      flagged: z.number()
    })
  },
  pause: { method: 'POST', path: '/api/pause', response: StatusSchema },
  resume: { method: 'POST', path: '/api/resume', response: StatusSchema },
  setup: { method: 'POST', path: '/api/setup', body: SetupRequestSchema, response: StatusSchema },
  stats: { method: 'GET', path: '/api/stats', response: StatsSchema },
  messages: { method: 'GET', path: '/api/messages', query: MessagesQuerySchema, response: MessagesPageSchema },
  message: { method: 'GET', path: '/api/messages/{id}', query: MessageQuerySchema, response: MessageDetailSchema },
  messageRemove: { method: 'DELETE', path: '/api/messages/{id}', response: RemoveMessageResultSchema },
  messageArchive: { method: 'GET', path: '/api/messages/{id}/archive', response: 'message' },
  messageContent: {
    method: 'GET',
    path: '/api/messages/content',
    query: MessageContentQuerySchema,
    response: 'bytes'
  },
  messageInspect: {
    method: 'POST',
    path: '/api/messages/inspect',
    body: InspectMessageRequestSchema,
    response: MessageDetailSchema
  },
  messageReceive: {
    method: 'POST',
    path: '/api/messages/receive',
    body: ReceiveMessageRequestSchema,
    response: MessageSummarySchema
  },
  messageAccept: {
    method: 'POST',
    path: '/api/messages/accept',
    body: AcceptMessageRequestSchema,
    response: ImportResultSchema
  },
  messagePlan: {
    method: 'POST',
    path: '/api/messages/plan',
    body: PlanMessageRequestSchema,
    response: PlanMessageResultSchema
  },
  messageShare: {
    method: 'POST',
    path: '/api/messages/share',
    body: ShareMessageRequestSchema,
    response: ShareMessageResultSchema
  },
  messageFetch: { method: 'POST', path: '/api/messages/fetch', response: FetchMessagesResultSchema },
  contacts: { method: 'GET', path: '/api/contacts', response: ContactsSchema },
  contactAdd: { method: 'POST', path: '/api/contacts', body: AddContactRequestSchema, response: ContactSchema },
  contactMe: {
    method: 'PATCH',
    path: '/api/contacts/me',
    body: ChangeMyContactRequestSchema,
    response: ContactSchema
  },
  contactRemove: { method: 'DELETE', path: '/api/contacts/{name}', response: ContactSchema },
  contactPicture: {
    method: 'GET',
    path: '/api/contacts/qr',
    query: ContactPictureQuerySchema,
    response: 'picture'
  },
  sql: { method: 'POST', path: '/api/sql', body: SqlRequestSchema, response: 'sql' },
  sqlSchema: { method: 'GET', path: '/api/sql/schema', response: SqlSchemaSchema },
  sqlOutcome: { method: 'GET', path: '/api/sql/queries/{queryId}', response: SqlOutcomeSchema },
  events: { method: 'GET', path: '/api/events', query: EventsQuerySchema, response: 'event-stream' },
  changeSetApply: {
    method: 'POST',
    path: '/api/changesets/apply',
    body: ChangeSetApplyRequestSchema,
    response: ChangeSetApplyResultSchema
  }
} as const;
