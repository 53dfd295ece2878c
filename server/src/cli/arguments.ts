/** The command line's grammar: global options, commands, what each takes, and its help text. */
import { statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SyftError } from '../core/errors.ts';

interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Placeholder of the value, for help. */
  readonly value?: string;
  readonly help: string;
}

const GLOBAL = {
  directory: {
    type: 'string',
    short: 'C',
    value: 'DIR',
    help: 'the workspace; default the nearest parent that holds .syft-sync, else here'
  },
  log: { type: 'string', value: 'DIR', help: 'the log; default <workspace>/.syft-sync' },
  'passphrase-file': {
    type: 'string',
    value: 'FILE',
    help: 'opens an encrypted log; else SYFT_SYNC_PASSPHRASE, SYFT_SYNC_PASSPHRASE_FILE, or it is asked for'
  },
  'identity-file': {
    type: 'string',
    value: 'FILE',
    help: 'age identities that open an encrypted log; else the file that SYFT_SYNC_IDENTITY names'
  },
  json: { type: 'boolean', help: 'one JSON object a line on stdout' },
  quiet: { type: 'boolean', short: 'q', help: 'say less' },
  verbose: { type: 'boolean', short: 'v', help: 'say more' },
  help: { type: 'boolean', short: 'h', help: 'show help' },
  version: { type: 'boolean', help: 'show the version' }
} as const satisfies Record<string, OptionSpec>;

const OPTIONS = {
  path: { type: 'string', value: 'GLOB', help: 'only paths that match' },
  kind: { type: 'string', value: 'KIND', help: 'created, modified, deleted or moved' },
  since: {
    type: 'string',
    value: 'T',
    help: 'from this time on: 2026-11-01 14:32, an ISO time, 10m, 2h, 3d, yesterday'
  },
  until: { type: 'string', value: 'T', help: 'up to this time' },
  limit: { type: 'string', value: 'N', help: 'at most so many' },
  'keep-all': { type: 'string', value: 'AGE', help: 'keep every version up to this age: 36h, 7d, 8w, 1y or forever' },
  hourly: { type: 'string', value: 'AGE', help: 'keep the newest of each hour up to this age' },
  daily: { type: 'string', value: 'AGE', help: 'keep the newest of each day up to this age' },
  weekly: { type: 'string', value: 'AGE', help: 'keep the newest of each week (Monday to Sunday) up to this age' },
  budget: { type: 'string', value: 'SIZE', help: 'what the log may take, such as 500MB, 5GB or 5GiB: the oldest go' },
  'time-zone': { type: 'string', value: 'NAME', help: 'whose hours, days and weeks count; default UTC' },
  policy: { type: 'string', value: 'FILE', help: 'the rules of this file; default those saved with --save' },
  save: { type: 'boolean', help: 'save the rules as the policy of this log' },
  all: { type: 'boolean', help: 'what was recorded last too, however little it is' },
  yes: { type: 'boolean', short: 'y', help: 'do not ask' },
  'with-shared': { type: 'boolean', help: 'erase versions that share parts of the content too' },
  'keep-shared': { type: 'boolean', help: 'keep the parts that other versions need: the secret is not in them' },
  by: { type: 'string', value: 'WHAT', help: 'path, folder, type, day or version' },
  'oldest-first': { type: 'boolean', help: 'oldest first' },
  follow: { type: 'boolean', short: 'f', help: 'go on and show changes as they become durable' },
  at: { type: 'string', value: 'T', help: 'as of this time' },
  to: {
    type: 'string',
    multiple: true,
    value: 'WHERE',
    help: 'put it there instead; of a message: who it is for, a name or an age1… that it is sealed for, may be repeated'
  },
  note: { type: 'string', value: 'TEXT', help: 'what the message says beside its files' },
  from: { type: 'string', value: 'NAME', help: 'who sends it; default the name that contacts me shows' },
  'reply-to': { type: 'string', value: 'ID', help: 'the message that this one answers' },
  trust: { type: 'boolean', help: 'believe the key of a sender who is not known yet, from now on' },
  name: { type: 'string', value: 'NAME', help: 'what this installation is called from now on; empty: user@machine' },
  age: { type: 'string', value: 'age1…', help: 'the age recipient that messages to this contact are sealed for' },
  mailbox: { type: 'string', value: 'URL', help: 'the storage where messages for this contact are put: file:///…' },
  keep: { type: 'boolean', help: 'leave the messages in the mailbox, for other devices that share it' },
  qr: { type: 'boolean', help: 'show the link as a QR code' },
  'device-of': { type: 'string', value: 'NAME', help: 'the key is of one more device of this contact' },
  words: { type: 'string', value: 'WORDS', help: 'the five words of the key, as the contact has read them out' },
  tree: { type: 'boolean', help: 'the whole tree' },
  'dry-run': { type: 'boolean', short: 'n', help: 'list what would happen, change nothing' },
  force: { type: 'boolean', help: 'replace even what cannot be recorded first' },
  'read-data': { type: 'boolean', help: 'read and verify every content too' },
  repair: {
    type: 'boolean',
    help: 'make anew what can be derived; deletes nothing, moves what is damaged to quarantine/'
  },
  accept: { type: 'boolean', help: 'take the log as it is for the true one, after a backup was put back on purpose' },
  history: { type: 'string', value: 'FILE', help: 'a proof of history: that the log still had all of it later' },
  output: { type: 'string', short: 'o', value: 'FILE', help: 'write to this file instead of stdout' },
  exclude: {
    type: 'string',
    multiple: true,
    value: 'PATTERN',
    help: 'leave out, in gitignore syntax; may be repeated'
  },
  'max-content': {
    type: 'string',
    value: 'BYTES',
    help: 'keep only name, size and hash of larger files; default 1 GiB'
  },
  watcher: {
    type: 'string',
    value: 'NAME',
    help: 'where word of changes comes from: auto, fs-watch, chokidar, parcel, polling, none, or the path of a module'
  },
  socket: { type: 'string', value: 'PATH', help: 'listen on this unix socket' },
  port: { type: 'string', value: 'N', help: 'listen on 127.0.0.1, port N (0: any)' },
  'stdin-lifeline': { type: 'boolean', help: 'end when standard input ends' },
  mode: { type: 'string', value: 'MODE', help: 'latest or all_versions' },
  encrypt: { type: 'boolean', help: 'a log that is not there yet is encrypted' },
  recipient: {
    type: 'string',
    multiple: true,
    value: 'age1…',
    help: 'who can open the new log with an age identity; may be repeated'
  },
  'new-passphrase-file': { type: 'string', value: 'FILE', help: 'holds the new passphrase; else it is asked for' },
  once: { type: 'boolean', help: 'apply what is there and exit' },
  format: {
    type: 'string',
    value: 'FORMAT',
    help: 'table, json (one array), ndjson, csv, arrow or parquet; default table, or by the name of the file'
  },
  request: {
    type: 'boolean',
    help: 'read the question from stdin as JSON, with parameters and limits, as POST /api/sql takes it'
  },
  timeout: { type: 'string', value: 'S', help: 'seconds that the query may take; default 10' },
  memory: { type: 'string', value: 'MB', help: 'megabytes that the query may take; default 1024' },
  as: { type: 'string', value: 'USER', help: 'whose permissions count: an address' },
  'skip-conflicts': { type: 'boolean', help: 'apply the rest, where files were changed here too' },
  'delete-many': { type: 'boolean', help: 'delete more than half of the files, if it says so' },
  read: {
    type: 'string',
    multiple: true,
    value: 'USER',
    help: 'who may read: an address, *@example.org, * for everybody, "" for nobody; may be repeated'
  },
  write: { type: 'string', multiple: true, value: 'USER', help: 'who may write, and read; may be repeated' },
  admin: {
    type: 'string',
    multiple: true,
    value: 'USER',
    help: 'who may say who may, and write and read; may be repeated'
  },
  pattern: { type: 'string', value: 'GLOB', help: 'the files of the folder that it is about; default **, all of them' },
  terminal: { type: 'string', value: 'yes|no', help: 'whether files of the same name further below say nothing' }
} as const satisfies Record<string, OptionSpec>;

type OptionName = keyof typeof OPTIONS;

interface CommandSpec {
  readonly usage: string;
  readonly does: string;
  readonly options: readonly OptionName[];
  /** Fewest and most positional arguments. */
  readonly positionals: readonly [number, number];
  readonly example: string;
}

const ENCRYPTING = ['encrypt', 'recipient'] as const;
const RECORDING = ['exclude', 'max-content', ...ENCRYPTING] as const;
const WATCHING = [...RECORDING, 'watcher'] as const;

/** Every command, in the order in which help lists them. */
export const COMMANDS = {
  init: {
    usage: 'init [--encrypt [--recipient age1…]]',
    does: 'begins a log without recording anything yet; with --encrypt, one that nobody reads without its passphrase',
    options: ENCRYPTING,
    positionals: [0, 0],
    example: 'syft-sync -C ~/analysis init --encrypt'
  },
  capture: {
    usage: 'capture',
    does: 'records every file that differs from its latest version, exits when that is durable',
    options: RECORDING,
    positionals: [0, 0],
    example: 'syft-sync -C ~/analysis capture'
  },
  watch: {
    usage: 'watch',
    does: 'records until Ctrl-C or SIGTERM; with --json prints {"ready":true} and then each change once it is durable',
    options: WATCHING,
    positionals: [0, 0],
    example: 'syft-sync -C ~/analysis --json watch'
  },
  flush: {
    usage: 'flush',
    does: 'returns when the state every file had when it was called is recorded and durable',
    options: RECORDING,
    positionals: [0, 0],
    example: 'syft-sync flush && cp -a .syft-sync /mnt/backup'
  },
  log: {
    usage: 'log',
    does: 'lists changes, newest first',
    options: ['path', 'kind', 'since', 'until', 'limit', 'oldest-first', 'follow'],
    positionals: [0, 0],
    example: "syft-sync log --path 'data/**' --since 2h"
  },
  history: {
    usage: 'history PATH',
    does: 'lists the changes of one path, newest first, followed back across moves',
    options: ['limit'],
    positionals: [1, 1],
    example: 'syft-sync history analysis.ipynb'
  },
  tree: {
    usage: 'tree',
    does: 'lists the files as they are in the log now, or were at a time',
    options: ['at', 'path'],
    positionals: [0, 0],
    example: "syft-sync tree --at '2026-11-01 14:32'"
  },
  show: {
    usage: 'show VERSION',
    does: 'writes the content of a version to stdout, byte for byte',
    options: [],
    positionals: [1, 1],
    example: 'syft-sync show data/clean.csv@2h > old.csv'
  },
  diff: {
    usage: 'diff VERSION|PATH [VERSION|PATH]',
    does: 'shows what differs: text by line, notebooks by cell, else sizes and hashes; with one argument, against the file on disk',
    options: [],
    positionals: [1, 2],
    example: 'syft-sync diff analysis.ipynb@yesterday'
  },
  restore: {
    usage: 'restore VERSION [--to PATH] · restore PATH --at T · restore --tree --at T --to DIR',
    does: 'puts a version back, atomically, mode and time included; what stood there is recorded first',
    options: ['to', 'at', 'tree', 'dry-run', 'force'],
    positionals: [0, 1],
    example: 'syft-sync restore model.pkl@-1'
  },
  label: {
    usage: 'label VERSION NAME',
    does: 'gives a version a name; what has one keeps its content whatever is pruned',
    options: [],
    positionals: [2, 2],
    example: "syft-sync label paper.tex@latest 'sent to the journal'"
  },
  unlabel: {
    usage: 'unlabel VERSION [NAME]',
    does: 'takes a name of a version back, or all of them',
    options: [],
    positionals: [1, 2],
    example: "syft-sync unlabel paper.tex@latest 'sent to the journal'"
  },
  pin: {
    usage: 'pin VERSION',
    does: 'keeps the content of a version whatever is pruned',
    options: [],
    positionals: [1, 1],
    example: 'syft-sync pin model.pkl@2h'
  },
  unpin: {
    usage: 'unpin VERSION',
    does: 'takes a pin back',
    options: [],
    positionals: [1, 1],
    example: 'syft-sync unpin k7f2mq3a.1042'
  },
  labels: {
    usage: 'labels',
    does: 'lists the versions that are labelled or pinned',
    options: [],
    positionals: [0, 0],
    example: 'syft-sync --json labels'
  },
  prune: {
    usage: 'prune [RULES] [--dry-run]',
    does: 'drops the contents that a policy does not keep; the records stay, and never does the last content of a file go',
    options: ['keep-all', 'hourly', 'daily', 'weekly', 'budget', 'time-zone', 'policy', 'save', 'dry-run', 'yes'],
    positionals: [0, 0],
    example: 'syft-sync prune --keep-all 7d --hourly 30d --daily 1y --weekly forever --dry-run'
  },
  compact: {
    usage: 'compact [--all] [--dry-run]',
    does: 'stores full segments of the log anew, so that they take less room; nothing goes, and it works beside a recorder',
    options: ['all', 'dry-run'],
    positionals: [0, 0],
    example: 'syft-sync compact --dry-run'
  },
  erase: {
    usage: 'erase VERSION|HASH --yes [--with-shared|--keep-shared]',
    does: 'takes one content, such as a leaked secret, out of every version that has it; the records and proofs stay',
    options: ['yes', 'with-shared', 'keep-shared', 'dry-run'],
    positionals: [1, 1],
    example: 'syft-sync erase .env@-1 --yes'
  },
  usage: {
    usage: 'usage',
    does: 'shows what is eating the history: bytes in the log by path, folder, type, day or version',
    options: ['by', 'limit'],
    positionals: [0, 0],
    example: 'syft-sync usage --by folder'
  },
  sql: {
    usage: 'sql [QUERY] [-o FILE]',
    does: 'answers a question about the history in SQL, or several at a prompt; it only reads (docs/sql.md)',
    options: ['format', 'output', 'timeout', 'memory', 'request'],
    positionals: [0, 1],
    example: `syft-sync sql "SELECT path, count(*) AS versions FROM versions GROUP BY path ORDER BY versions DESC LIMIT 10"`
  },
  stats: {
    usage: 'stats',
    does: 'counts: changes by kind, versions, files, bytes',
    options: [],
    positionals: [0, 0],
    example: 'syft-sync --json stats'
  },
  fsck: {
    usage: 'fsck',
    does: 'checks the log; prints each damage and exits 3 when there is any',
    options: ['read-data', 'repair', 'accept'],
    positionals: [0, 0],
    example: 'syft-sync fsck --read-data'
  },
  prove: {
    usage: 'prove VERSION [-o FILE]',
    does: 'writes a proof that the version was recorded, signed by its device, which can be checked without the log',
    options: ['output'],
    positionals: [1, 1],
    example: 'syft-sync prove model.pkl@latest -o model.tlog-proof'
  },
  'prove-history': {
    usage: 'prove-history PROOF [-o FILE]',
    does: 'writes a proof that the log still has, unchanged, all that it had when PROOF was made',
    options: ['output'],
    positionals: [1, 1],
    example: 'syft-sync prove-history model.tlog-proof -o since-then.txt'
  },
  'verify-proof': {
    usage: 'verify-proof PROOF [--history FILE]',
    does: 'checks a proof offline and shows what it proves; exits 3 when it proves nothing',
    options: ['history'],
    positionals: [1, 1],
    example: 'syft-sync verify-proof model.tlog-proof'
  },
  export: {
    usage: 'export VERSION|FOLDER… -o FILE.syft [--note TEXT] [--to RECIPIENT…]',
    does: 'writes versions, of a folder the newest of all its files, as a signed SyftMessage that anybody can verify and OpenMined’s tools can read',
    options: ['output', 'note', 'to', 'from', 'reply-to'],
    positionals: [1, 10_000],
    example: "syft-sync export model.pkl@latest -o model.syft --note 'the one of the paper'"
  },
  verify: {
    usage: 'verify FILE.syft',
    does: 'says what a message proves and what it only claims, offline; exits 3 when anything fails',
    options: [],
    positionals: [1, 1],
    example: 'syft-sync verify model.syft'
  },
  import: {
    usage: 'import FILE.syft [--to DIR] [--trust]',
    does: 'verifies a message, then writes its files and records them; what stood there is recorded first',
    options: ['to', 'trust', ...RECORDING],
    positionals: [1, 1],
    example: 'syft-sync import model.syft --to from-ana'
  },
  send: {
    usage: 'send VERSION|FOLDER… --to NAME… [--note TEXT]',
    does: 'makes a message as export does, and puts it into the mailboxes of the contacts it is for',
    options: ['to', 'note', 'from', 'reply-to'],
    positionals: [1, 10_000],
    example: "syft-sync send model.pkl@latest --to Ana --note 'the one of the paper'"
  },
  inbox: {
    usage: 'inbox [list]|fetch [--keep]|accept ID [--to DIR] [--trust]|remove ID',
    does: 'says what others have sent and what it is; fetch looks into the mailbox, accept takes a message into the workspace',
    options: ['to', 'trust', 'keep', ...RECORDING],
    positionals: [0, 2],
    example: 'syft-sync inbox fetch'
  },
  contacts: {
    usage: 'contacts list|me|add LINK|PICTURE.png|-|export NAME|rename NAME NEW|remove NAME',
    does: 'says whose messages are believed; me shows the link that others add, and keeps what it is told',
    options: ['name', 'from', 'age', 'mailbox', 'device-of', 'words', 'qr', 'output'],
    positionals: [1, 3],
    example: 'syft-sync contacts me --name Ana --qr'
  },
  permissions: {
    usage: 'permissions show [PATH] [--as USER] · permissions set PATH --read USER… --write USER… --admin USER…',
    does: 'reads and writes syft.pub.yaml, by which SyftBox and syft share a folder',
    options: ['as', 'read', 'write', 'admin', 'pattern', 'terminal'],
    positionals: [1, 2],
    example: 'syft-sync permissions set data --read bob@example.org --write "*@lab.example.org"'
  },
  changeset: {
    usage:
      'changeset export FOLDER -o DIR [--since T|VERSION] [--until T|VERSION] [--as USER] · changeset apply FILE [--to DIR] --trust',
    does: 'tells SyftBox and syft what became of a folder, and does what they tell: all of it or nothing',
    options: [
      'output',
      'since',
      'until',
      'from',
      'as',
      'to',
      'trust',
      'skip-conflicts',
      'delete-many',
      'dry-run',
      ...RECORDING
    ],
    positionals: [2, 2],
    example: 'syft-sync changeset export . -o outbox --since 2h'
  },
  explore: {
    usage: 'explore',
    does: 'browses files and versions in the terminal, shows, restores',
    options: [],
    positionals: [0, 0],
    example: 'syft-sync explore'
  },
  keys: {
    usage: 'keys list|rotate|passphrase|remove-passphrase|add-recipient age1…|remove-recipient age1…',
    does: 'says who can open an encrypted log: lists and changes that, or takes a new key for what comes',
    options: ['new-passphrase-file'],
    positionals: [0, 2],
    example: 'syft-sync keys rotate'
  },
  serve: {
    usage: 'serve',
    does: 'records and serves the HTTP API, for JupyterLab (--socket) or on 127.0.0.1 (--port) with a bearer token',
    options: ['socket', 'port', 'stdin-lifeline', ...WATCHING],
    positionals: [0, 0],
    example: 'SYFT_SYNC_SECRET=$(openssl rand -hex 32) syft-sync serve --port 0'
  },
  receive: {
    usage: 'receive LOG… OUT',
    does: 'applies the changes of other logs, paths or addresses such as file:///mnt/log, to a directory, live',
    options: ['mode', 'once', 'exclude', 'force', 'dry-run'],
    positionals: [2, 99],
    example: 'syft-sync receive /mnt/shared/ana/.syft-sync ~/from-ana'
  },
  help: {
    usage: 'help [COMMAND]',
    does: 'explains a command with an example',
    options: [],
    positionals: [0, 1],
    example: 'syft-sync help restore'
  }
} as const satisfies Record<string, CommandSpec>;

export type CommandName = keyof typeof COMMANDS;

/** What was asked for on the command line. */
export interface Invocation {
  readonly command: CommandName;
  readonly args: readonly string[];
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly exclude: readonly string[];
  /** Who can open a new encrypted log. */
  readonly recipients: readonly string[];
  /** Where to, or of a message: who it is for. */
  readonly to: readonly string[];
  /** Who may read, write and administer; a level that is not named is absent. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** As given with -C. */
  readonly directory: string | undefined;
  readonly log: string | undefined;
}

function wrong(message: string): SyftError {
  return new SyftError('BAD_REQUEST', message);
}

/** What `parseArgs` says, without the advice that it adds in further lines. */
function sentence(message: string): string {
  const first = message.split('\n', 1)[0] ?? '';
  return first.endsWith('.') ? first : `${first}.`;
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

/**
 * Parses `process.argv.slice(2)`.
 *
 * @returns The invocation, or `help`/`version` when that is asked for.
 * @throws SyftError BAD_REQUEST saying what is wrong.
 */
export function parseCommandLine(argv: readonly string[]):
  | Invocation
  | (({ readonly show: 'version' } | { readonly show: 'help'; readonly topic?: CommandName }) & {
      readonly json: boolean;
    }) {
  const parserOptions: Record<string, { type: 'string' | 'boolean'; short?: string; multiple?: boolean }> = {};
  const specs: [string, OptionSpec][] = Object.entries({ ...GLOBAL, ...OPTIONS });
  for (const [name, spec] of specs) {
    parserOptions[name] = {
      type: spec.type,
      ...(spec.short !== undefined && { short: spec.short }),
      ...(spec.multiple !== undefined && { multiple: spec.multiple })
    };
  }
  let parsed;
  try {
    parsed = parseArgs({ args: [...argv], options: parserOptions, allowPositionals: true, strict: true });
  } catch (error) {
    throw wrong(`${sentence(error instanceof Error ? error.message : String(error))} Try: syft-sync help`);
  }
  const { values, positionals } = parsed;
  const json = values['json'] === true;
  if (values['version'] === true) return { show: 'version', json };
  const [name, ...args] = positionals;
  if (name === undefined) {
    if (values['help'] === true) return { show: 'help', json };
    throw wrong('No command was given. Try: syft-sync help');
  }
  if (!isCommand(name)) throw wrong(`There is no command ${name}. Try: syft-sync help`);
  if (values['help'] === true) return { show: 'help', topic: name, json };
  if (name === 'help') {
    const topic = args[0];
    if (topic === undefined) return { show: 'help', json };
    if (!isCommand(topic)) throw wrong(`There is no command ${topic}. Try: syft-sync help`);
    return { show: 'help', topic, json };
  }
  const spec: CommandSpec = COMMANDS[name];
  const [fewest, most] = spec.positionals;
  if (args.length < fewest || args.length > most) throw wrong(`Usage: syft-sync ${spec.usage}`);
  const flags = new Set<string>();
  const texts = new Map<string, string>();
  for (const [option, value] of Object.entries(values)) {
    if (!(option in GLOBAL) && !(spec.options as readonly string[]).includes(option)) {
      throw wrong(`${name} has no option --${option}. Try: syft-sync help ${name}`);
    }
    if (value === true) flags.add(option);
    else if (typeof value === 'string') texts.set(option, value);
    else if (option === 'to' && Array.isArray(value) && name !== 'export' && name !== 'send') {
      const [where, ...more] = value;
      if (more.length > 0 || typeof where !== 'string') throw wrong('--to is given once.');
      texts.set(option, where);
    }
  }
  if (flags.has('quiet') && flags.has('verbose')) throw wrong('-q and -v are opposites; give one of them.');
  for (const option of ['directory', 'log', 'to', 'output', 'history', 'policy', 'passphrase-file', 'identity-file']) {
    if (texts.get(option) === '') throw wrong(`--${option} was given an empty name.`);
  }
  const many = (option: string): string[] => {
    const given = values[option];
    return Array.isArray(given) ? given.filter(item => typeof item === 'string') : [];
  };
  return {
    command: name,
    args,
    flags,
    values: texts,
    exclude: many('exclude'),
    recipients: many('recipient'),
    to: many('to'),
    lists: new Map(['read', 'write', 'admin'].flatMap(level => (level in values ? [[level, many(level)]] : []))),
    json,
    quiet: flags.has('quiet'),
    verbose: flags.has('verbose'),
    directory: texts.get('directory'),
    log: texts.get('log')
  };
}

/** A whole number given as an option's value. Throws BAD_REQUEST. */
export function wholeNumber(invocation: Invocation, option: string): number | undefined {
  const text = invocation.values.get(option);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw wrong(`--${option} takes a whole number, not "${text}".`);
  return Number(text);
}

/** Workspace and log directory of an invocation. */
export function locate(invocation: Invocation, cwd: string): { root: string; logDir: string } {
  let root = invocation.directory === undefined ? undefined : resolve(cwd, invocation.directory);
  if (root === undefined) {
    for (let dir = cwd; root === undefined; dir = dirname(dir)) {
      if (statSync(join(dir, '.syft-sync'), { throwIfNoEntry: false })?.isDirectory() === true) root = dir;
      else if (dirname(dir) === dir) root = cwd;
    }
  }
  return { root, logDir: invocation.log === undefined ? join(root, '.syft-sync') : resolve(cwd, invocation.log) };
}

function optionLine(name: string, spec: OptionSpec): string {
  const left = `${spec.short === undefined ? '    ' : `-${spec.short}, `}--${name}${spec.value === undefined ? '' : ` ${spec.value}`}`;
  return `  ${left.padEnd(24)}${spec.help}`;
}

/** Help as data: one object a command. */
export function helpObjects(topic?: CommandName): Record<string, unknown>[] {
  const option = (name: string, spec: OptionSpec): Record<string, unknown> => ({
    option: `--${name}`,
    ...(spec.short !== undefined && { short: `-${spec.short}` }),
    ...(spec.value !== undefined && { value: spec.value }),
    help: spec.help
  });
  const specs: [string, CommandSpec][] = Object.entries(COMMANDS);
  return specs
    .filter(([command]) => topic === undefined || command === topic)
    .map(([command, { usage, does, options, example }]) => ({
      command,
      usage: `syft-sync ${usage}`,
      does,
      options: [
        ...options.map(name => option(name, OPTIONS[name])),
        ...Object.entries(GLOBAL).map(([name, spec]) => option(name, spec))
      ],
      example
    }));
}

/** Width of the column of names, with what divides it from the next. */
const WIDEST = Math.max(...Object.keys(COMMANDS).map(name => name.length)) + 2;

/** Help for everything, or for one command. */
export function helpText(topic?: CommandName): string {
  const globals = Object.entries(GLOBAL).map(([name, spec]) => optionLine(name, spec));
  if (topic === undefined) {
    return [
      'syft-sync [-C DIR] [--log DIR] [--json] [-q|-v] COMMAND …',
      '',
      'Keeps every version of every file of a directory in an append-only log.',
      '',
      ...Object.entries(COMMANDS).map(([name, spec]) => `  ${name.padEnd(WIDEST)}${spec.does}`),
      '',
      'Options of every command:',
      ...globals,
      '',
      'A VERSION is a version id (k7f2mq3a.1042), a unique beginning of one, PATH@T, PATH@latest, or PATH@-1 (the one before',
      'the latest). A time is 2026-11-01 14:32, an ISO 8601 time, 10m, 2h or 3d ago, or yesterday.',
      'syft-sync help COMMAND teaches each command with an example.',
      ''
    ].join('\n');
  }
  const spec: CommandSpec = COMMANDS[topic];
  return [
    `syft-sync ${spec.usage}`,
    '',
    `${spec.does.charAt(0).toUpperCase()}${spec.does.slice(1)}.`,
    ...(spec.options.length === 0
      ? []
      : ['', 'Options:', ...spec.options.map(name => optionLine(name, OPTIONS[name]))]),
    '',
    'Options of every command:',
    ...globals,
    '',
    'Example:',
    `  ${spec.example}`,
    ''
  ].join('\n');
}
