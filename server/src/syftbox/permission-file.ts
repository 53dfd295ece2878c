/**
 * `syft.pub.yaml`: who may read, write and administer what lies beside and below it. As SyftBox 0.8.7 (`internal/aclspec`) and
 * syft-permissions 0.1.14, which `syft` 0.10 uses, write it. What is not understood in it stays in it when it is rewritten, comments too.
 */
import { Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { SyftError } from '../core/errors.ts';
import { patternMatcher, specificity } from './pattern.ts';

export const PERMISSION_FILE = 'syft.pub.yaml';

/** From the least to the most: each holds those before it. */
export const LEVELS = ['read', 'write', 'admin'] as const;
export type Level = (typeof LEVELS)[number];

/** What a rule gives, to whom: addresses, `*` for everybody, `*@example.org`, `USER` for whoever asks. */
export type Access = Readonly<Record<Level, readonly string[]>>;

export interface Rule {
  /** As it is written; relative to the folder of the file. */
  readonly pattern: string;
  readonly access: Access;
  /** @param path Relative to the folder of the file. */
  readonly matches: (path: string, user: string, now?: Date) => boolean;
}

export interface RuleSet {
  /** The one that counts comes first. */
  readonly rules: readonly Rule[];
  /** Files of the same name further below say nothing. */
  readonly terminal: boolean;
}

/**
 * Bytes of a file. The parser compares each key of a map with all others, and goes down into what is nested, which it gives up by
 * itself: with so many bytes neither is anything to wait for.
 */
export const MOST_BYTES = 32 * 1024;
const MOST_RULES = 1000;
const MOST_USERS = 1000;
/** Nodes that an alias may stand for. */
const MOST_ALIASES = 100;
const USER_LENGTH = 254;

function invalid(path: string, why: string, cause?: unknown): SyftError {
  return new SyftError(
    'PERMISSIONS_INVALID',
    `${path} is not understood: ${why}. Until it is put right, nobody but the owner has access.`,
    { path, ...(cause !== undefined && { cause }) }
  );
}

function documentOf(text: string, path: string): { document: Document; value: unknown } {
  if (Buffer.byteLength(text) > MOST_BYTES) throw invalid(path, `it is larger than ${MOST_BYTES} bytes`);
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) {
    throw invalid(path, (error.message.split('\n', 1)[0] ?? 'it is not YAML').replace(/:$/, ''), error);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (cause) {
    throw invalid(path, 'its aliases stand for too much', cause);
  }
  return { document, value };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function usersOf(value: unknown, path: string, where: string): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(path, `${where} is not a list`);
  if (value.length > MOST_USERS) throw invalid(path, `${where} names more than ${MOST_USERS}`);
  return value.map(user => {
    if (typeof user !== 'string' || user === '' || user.length > USER_LENGTH) {
      throw invalid(path, `${where} has a user that is none`);
    }
    return user;
  });
}

function ruleOf(value: unknown, path: string): Rule {
  if (!isObject(value)) throw invalid(path, 'one of its rules is none');
  const { pattern, access } = value;
  if (typeof pattern !== 'string') throw invalid(path, 'one of its rules has no pattern');
  const where = `the rule ${JSON.stringify(pattern.slice(0, 100))}`;
  if (!isObject(access)) throw invalid(path, `${where} has no access`);
  let matches: Rule['matches'];
  try {
    matches = patternMatcher(pattern);
  } catch (error) {
    throw invalid(path, `the pattern of ${where} is none: ${(error as Error).message}`, error);
  }
  const lists = LEVELS.map(level => [level, usersOf(access[level], path, `"${level}" of ${where}`)] as const);
  return { pattern, access: Object.fromEntries(lists) as Record<Level, string[]>, matches };
}

/** What YAML 1.1 takes for a truth value, which is what both readers of OpenMined go by. */
function terminalOf(value: unknown, path: string): boolean {
  if (value === undefined || value === null || value === false) return false;
  if (value === true || (typeof value === 'string' && /^(?:y|yes|on|true)$/i.test(value))) return true;
  if (typeof value === 'string' && /^(?:n|no|off|false)$/i.test(value)) return false;
  throw invalid(path, '"terminal" is neither true nor false');
}

/**
 * Reads a permission file. What no rule of it fits is for the owner alone; so is everything when it is empty.
 *
 * @param path What it is called in errors.
 * @throws SyftError PERMISSIONS_INVALID.
 */
export function parsePermissions(text: string, path: string = PERMISSION_FILE): RuleSet {
  const value = documentOf(text, path).value ?? {};
  if (!isObject(value)) throw invalid(path, 'it is not a map');
  const { rules = [], terminal } = value;
  if (rules !== null && !Array.isArray(rules)) throw invalid(path, '"rules" is not a list');
  const list: unknown[] = rules ?? [];
  if (list.length > MOST_RULES) throw invalid(path, `it has more than ${MOST_RULES} rules`);
  const ranked = list.map(rule => ruleOf(rule, path)).map(rule => ({ rule, rank: specificity(rule.pattern) }));
  // Equally narrow ones in their order.
  ranked.sort((a, b) => b.rank - a.rank);
  return { rules: ranked.map(({ rule }) => rule), terminal: terminalOf(terminal, path) };
}

export interface PermissionEdit {
  /** The rule that is changed, or made. */
  readonly pattern: string;
  /** Levels that are not named stay. */
  readonly access: Partial<Access>;
  readonly terminal?: boolean | undefined;
}

/** The rule of a pattern in a file; made when there is none. */
function ruleNode(document: Document, pattern: string): YAMLMap {
  if (!isMap(document.contents)) document.contents = document.createNode({});
  if (!isSeq(document.get('rules'))) document.set('rules', document.createNode([]));
  const rules = document.get('rules') as YAMLSeq;
  const found = rules.items.find(item => isMap(item) && item.get('pattern') === pattern);
  if (isMap(found)) return found;
  const made = document.createNode({ pattern, access: { admin: [], write: [], read: [] } });
  rules.add(made);
  return made;
}

/**
 * Changes a permission file, and nothing else in it.
 *
 * @param text What it says; `undefined`: there is none.
 * @throws SyftError PERMISSIONS_INVALID: a file that is not understood is not rewritten; BAD_REQUEST.
 */
export function editPermissions(
  text: string | undefined,
  { pattern, access, terminal }: PermissionEdit,
  path: string = PERMISSION_FILE
): string {
  if (text !== undefined) parsePermissions(text, path);
  const document = text === undefined ? new Document({}) : documentOf(text, path).document;
  const rule = ruleNode(document, pattern);
  for (const level of LEVELS) {
    const users = access[level];
    if (users === undefined) continue;
    users.forEach(checkUserPattern);
    // An alias of another rule's access would change that rule too.
    if (!isMap(rule.get('access'))) rule.set('access', document.createNode(rule.toJS(document)['access'] ?? {}));
    (rule.get('access') as YAMLMap).set(level, document.createNode([...new Set(users)]));
  }
  if (terminal !== undefined) document.set('terminal', terminal);
  const written = document.toString({ lineWidth: 0 });
  try {
    parsePermissions(written, path);
  } catch (error) {
    throw new SyftError('BAD_REQUEST', `${path} was not changed: ${(error as Error).message}`, { path, cause: error });
  }
  return written;
}

/** @throws SyftError BAD_REQUEST. */
export function checkUserPattern(user: string): void {
  if (user === '*' || user === 'USER') return;
  if (user.length <= USER_LENGTH && /^(?:\*|[^\s*?[\]{}\\/@,;:"'`#&!|>%]+)@[^\s*?[\]{}\\/@,;:"'`#&!|>%]+$/.test(user)) {
    return;
  }
  throw new SyftError(
    'BAD_REQUEST',
    `"${user}" is no user: write an address, *@example.org for all of a domain, * for everybody, or USER.`
  );
}
