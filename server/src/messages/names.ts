/** Names that stand beside one another, in an archive or where its files are put. */
import { ArchiveFault } from './archive-fault.ts';
import { foldedName } from './member-names.ts';

/** The names met so far: what may stand beside them. */
export class Names {
  readonly #files = new Map<string, string>();
  readonly #directories = new Map<string, string>();

  /** @throws ArchiveFault */
  add(name: string, kind: 'file' | 'directory'): void {
    const folded = foldedName(name);
    const taken =
      kind === 'file' ? (this.#files.get(folded) ?? this.#directories.get(folded)) : this.#files.get(folded);
    if (taken === name) throw new ArchiveFault(`"${name}" is there twice`);
    if (taken !== undefined) throw new ArchiveFault(`"${name}" and "${taken}" are one file on some systems`);
    (kind === 'file' ? this.#files : this.#directories).set(folded, name);
    for (let end = name.lastIndexOf('/'); end > 0; end = name.lastIndexOf('/', end - 1)) {
      const parent = name.slice(0, end);
      const key = foldedName(parent);
      if (this.#files.has(key)) throw new ArchiveFault(`"${parent}" is a file and a directory`);
      const written = this.#directories.get(key);
      if (written !== undefined && written !== parent) {
        throw new ArchiveFault(`"${parent}" and "${written}" are one directory on some systems`);
      }
      this.#directories.set(key, parent);
    }
  }
}
