/** `permissions`: reads and writes `syft.pub.yaml`. */
import { lstatSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import { workspacePath } from '../library/log-view.ts';
import { belongsToLog } from '../library/workspace.ts';
import { literalPattern } from '../syftbox/pattern.ts';
import { editPermissions, LEVELS, PERMISSION_FILE, type Access, type RuleSet } from '../syftbox/permission-file.ts';
import { datasiteOf, Permissions, readPermissionFile } from '../syftbox/permissions.ts';
import { putFile } from '../syftbox/put-file.ts';
import type { CommandContext } from './context.ts';

/** A place in the workspace: `''` is all of it. */
function placeOf({ root, cwd }: CommandContext, named: string | undefined): PathName {
  if (named === undefined || resolve(cwd, named) === root) return '';
  return workspacePath(root, named, cwd);
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Files and links below a folder, without logs, by name. */
function* filesBelow(root: string, folder: PathName): Generator<PathName> {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (!entry.isDirectory()) yield path;
    else if (entry.name !== LOG_DIR_NAME) yield* filesBelow(root, path);
  }
}

function lists(access: Access): string {
  const named = LEVELS.toReversed().flatMap(level =>
    access[level].length === 0 ? [] : [`${level} ${access[level].join(', ')}`]
  );
  return named.length === 0 ? 'nobody but the owner' : named.join(' · ');
}

const rulesJson = ({ rules, terminal }: RuleSet): object => ({
  terminal,
  rules: rules.map(({ pattern, access }) => ({ pattern, access }))
});

/** Who has which access to what is below a place, or may do what with it. */
async function show(context: CommandContext, place: PathName): Promise<number> {
  const { root, output, invocation } = context;
  const permissions = new Permissions(root);
  const user = invocation.values.get('as');
  const target = join(root, displayPath(place));
  if (lstatSync(target, { throwIfNoEntry: false }) === undefined && user === undefined) {
    throw new SyftError('PATH_NOT_FOUND', `There is no ${displayPath(place)}.`, { path: displayPath(place) });
  }
  if (user !== undefined) {
    for (const path of isFolder(target) ? filesBelow(root, place) : [place]) {
      const { level, file, rule } = permissions.grantOf(path, user);
      const by = file === undefined ? '' : `  ${relative(root, file)}${rule === undefined ? '' : ` ${rule.pattern}`}`;
      await output.result(
        {
          path: displayPath(path),
          user,
          access: level,
          ...(file !== undefined && { file }),
          ...(rule !== undefined && { pattern: rule.pattern })
        },
        `${level.padEnd(6)} ${displayPath(path)}${by}`
      );
      if (output.gone) break;
    }
    return 0;
  }
  const governing = permissions.governing(place);
  const owner = datasiteOf(target)?.owner;
  if (output.json) {
    await output.result(
      {
        path: displayPath(place),
        ...(owner !== undefined && { owner }),
        ...(governing !== undefined && { file: governing.file, ...rulesJson(governing.rules) })
      },
      ''
    );
    return 0;
  }
  if (owner !== undefined) await output.write(`owner  ${owner}\n`);
  if (governing === undefined) {
    await output.write(`no ${PERMISSION_FILE} here or above: nobody but the owner has access in a SyftBox\n`);
    return 0;
  }
  await output.write(`${governing.file}${governing.rules.terminal ? '  terminal' : ''}\n`);
  for (const { pattern, access } of governing.rules.rules) await output.write(`  ${pattern}  ${lists(access)}\n`);
  return 0;
}

/** Where the rule for a place stands, and how it is written there. */
function ruleFor({ root, invocation }: CommandContext, place: PathName): { file: string; pattern: string } {
  const pattern = invocation.values.get('pattern');
  const target = join(root, displayPath(place));
  if (place === '' || isFolder(target)) return { file: join(target, PERMISSION_FILE), pattern: pattern ?? '**' };
  if (pattern !== undefined) {
    throw new SyftError('BAD_REQUEST', '--pattern belongs to a folder, and is relative to it.');
  }
  // A file of its own beside it would take what the one above says away from everything else there.
  const governing = new Permissions(root).governing(place);
  const inside = governing !== undefined && (governing.file.startsWith(root + sep) || dirname(governing.file) === root);
  if (inside) return { file: governing.file, pattern: literalPattern(governing.path) };
  return { file: join(dirname(target), PERMISSION_FILE), pattern: literalPattern(basename(target)) };
}

async function set(context: CommandContext, place: PathName): Promise<number> {
  const { root, logDir, output, invocation } = context;
  const access = Object.fromEntries(
    LEVELS.flatMap(level => {
      const users = invocation.lists.get(level);
      return users === undefined ? [] : [[level, users.filter(user => user !== '')] as const];
    })
  ) as Partial<Access>;
  const terminal = invocation.values.get('terminal');
  if (terminal !== undefined && terminal !== 'yes' && terminal !== 'no') {
    throw new SyftError('BAD_REQUEST', `--terminal takes yes or no, not "${terminal}".`);
  }
  if (Object.keys(access).length === 0 && terminal === undefined) {
    throw new SyftError('BAD_REQUEST', 'Say who: --read USER, --write USER, --admin USER; "" for nobody.');
  }
  const { file, pattern } = ruleFor(context, place);
  if (belongsToLog(file, logDir)) throw new SyftError('PATH_INVALID', `${file} belongs to the log.`, { path: file });
  const before = readPermissionFile(file);
  const text = editPermissions(
    before,
    { pattern, access, ...(terminal !== undefined && { terminal: terminal === 'yes' }) },
    file
  );
  if (text !== before) {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode;
    putFile(file, Buffer.from(text), mode === undefined ? 0o644 : mode & 0o777);
  }
  const governing = new Permissions(root).governing(place);
  const rule = governing?.rules.rules.find(candidate => candidate.pattern === pattern);
  await output.result(
    { file, pattern, changed: text !== before, ...(rule !== undefined && { access: rule.access }) },
    `${file}: ${pattern}  ${rule === undefined ? '' : lists(rule.access)}`
  );
  if (governing !== undefined && governing.file !== file) {
    output.note(`syft-sync: ${governing.file} is terminal, so what ${file} says does not count`);
  }
  return 0;
}

export async function permissionsCommand(context: CommandContext): Promise<number> {
  const [what, named] = context.invocation.args;
  const place = placeOf(context, named);
  if (what === 'show') return show(context, place);
  if (what === 'set' && named !== undefined) return set(context, place);
  throw new SyftError('BAD_REQUEST', 'Usage: syft-sync permissions show [PATH] [--as USER] | set PATH --read USER…');
}
