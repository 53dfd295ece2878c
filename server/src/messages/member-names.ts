/**
 * Names of files in a message. Who receives one has another file system: what could lead out of the place it is put to, fall
 * together with another name there, or mean something else than a file, is not a name.
 */
import { isEscaped, type PathName } from '../core/path-name.ts';

/** Bytes of a name, of one part of it, and how many parts it may have. */
const NAME_BYTES = 4096;
const PART_BYTES = 255;
const PARTS = 128;

/** Names that Windows takes for devices, whatever extension they have. */
const DEVICE =
  /^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\..*)?$/iu;

const CONTROL = /[\0-\x1f\x7f]/;
/** Characters that are not seen, or turn the direction of what follows: a name would not be what it looks like. */
const HIDDEN = /[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffd]/u;

/** How two names are compared that a file system may take for one: without case, composed. */
export function foldedName(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFC');
}

/**
 * Says what is wrong with a relative, `/`-separated name; `undefined`: nothing.
 *
 * @param name As it stands in the archive, without a `/` at its end.
 */
export function faultOfName(name: string): string | undefined {
  if (name === '') return 'has no name';
  if (!name.isWellFormed() || name.includes('\ufffd')) return 'has a name that is not UTF-8';
  if (Buffer.byteLength(name) > NAME_BYTES) return 'has a name that is too long';
  if (CONTROL.test(name)) return 'has a control character in its name';
  if (HIDDEN.test(name)) return 'has a character in its name that is not seen';
  if (name.startsWith('/')) return 'has an absolute name';
  if (/^[A-Za-z]:/.test(name)) return 'names a drive';
  if (name.includes('\\')) return 'has a backslash in its name';
  const parts = name.split('/');
  if (parts.length > PARTS) return 'lies in too many directories';
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..') return 'has a name that leads elsewhere';
    if (Buffer.byteLength(part) > PART_BYTES) return 'has a name that is too long';
    if (/[ .]$/.test(part)) return 'has a name that ends in a dot or a space';
    if (DEVICE.test(part)) return 'has the name of a device';
  }
  return undefined;
}

/** Directories whose files other programs run or believe. */
const OURS = '.syft-sync';
const RUN_BY_OTHERS = new Set(['.git', '.hg', '.svn', '.bzr']);

/** Says why a file may not be put at a place in a workspace, beyond what {@link faultOfName} says of any name. */
export function faultOfPlace(path: string): string | undefined {
  const parts = path.split('/').map(part => foldedName(part).replace(/[ .]+$/, ''));
  if (parts.includes(OURS)) return 'would be put into a log';
  const found = parts.find(part => RUN_BY_OTHERS.has(part) || part === 'git~1');
  return found === undefined ? undefined : `would be put into ${found}`;
}

/** Says why a file of this path is neither sent nor taken; `undefined`: nothing speaks against it. */
export function faultOfPath(path: PathName): string | undefined {
  // A byte that is not UTF-8 is no fault of a path; what stands around it may be one.
  return faultOfName(isEscaped(path) ? path.replace(/[\uDC80-\uDCFF]/g, 'x') : path) ?? faultOfPlace(path);
}

/** The name of a file in an archive: its path; where that is not UTF-8, one with `%HH` for what is not, and the path stands in the manifest. */
export function memberName(path: PathName): string {
  return isEscaped(path)
    ? path.replace(/[%\uDC80-\uDCFF]/g, c =>
        c === '%' ? '%25' : `%${(c.charCodeAt(0) - 0xdc00).toString(16).toUpperCase()}`
      )
    : path;
}
