/** What an output and the logs it receives from agreed on, path by path: over the states of all these logs. */
import { versionId } from '../core/change.ts';
import type { Moment } from '../core/lineage.ts';
import type { PathName } from '../core/path-name.ts';
import { keyOf, type Node } from '../core/reconcile.ts';
import { sameAgreement, type Agreed, type ReceiveState } from './cursor.ts';
import type { Source } from './followed-source.ts';
import type { LogMoment } from './history.ts';

const NONE: ReadonlySet<PathName> = new Set();

export class Agreements {
  readonly #sources: readonly Source[];
  /** The number of the last one: of two about a path the later counts. */
  #n = 0;
  #files = 0;

  constructor(sources: readonly Source[]) {
    this.#sources = sources;
  }

  /** How many paths are files by what was agreed on. */
  get files(): number {
    return this.#files;
  }

  /** Takes up what was written down before. */
  load(state: ReceiveState): void {
    for (const agreed of state.agreed.values()) {
      this.#n = Math.max(this.#n, agreed.n);
      this.#files += isFile(agreed.key) ? 1 : 0;
    }
  }

  forget(): void {
    this.#files = 0;
  }

  /** The last one about a path. */
  on(path: PathName): (Agreed & { workspace: string }) | undefined {
    let found: (Agreed & { workspace: string }) | undefined;
    for (const { state, log } of this.#sources) {
      const agreed = state?.agreed.get(path);
      if (agreed !== undefined && (found === undefined || agreed.n > found.n)) {
        found = { ...agreed, workspace: log.histories === undefined ? '' : (log.workspaceId ?? '') };
      }
    }
    return found;
  }

  /** A state that lost against ours is not judged again until one of the two has something new. */
  isRefused(path: PathName, last: LogMoment, ownLast: Moment | undefined): boolean {
    const agreed = this.on(path);
    return agreed?.refused === true && agreed.version === versionId(last) && agreed.ownAt === nameOfLast(ownLast);
  }

  /**
   * Our own recorded history of a path, with what we have put there and is not recorded yet.
   *
   * @param workspace Ours.
   */
  withPut(path: PathName, recorded: readonly Moment[], workspace: string): readonly Moment[] {
    const agreed = this.on(path);
    const last = recorded.at(-1);
    if (
      agreed === undefined ||
      agreed.refused === true ||
      agreed.ownAt !== nameOfLast(last) ||
      agreed.key === (last?.key ?? '')
    ) {
      return recorded;
    }
    const put: Moment = {
      key: agreed.key,
      hlc: last?.hlc ?? 0,
      device: last?.device ?? '',
      seq: last?.seq ?? 0,
      workspace,
      cause: { workspace: agreed.workspace, version: agreed.version }
    };
    return [...recorded, put];
  }

  /**
   * Writes down that these paths are as the log has them; of `refused`, that this was seen.
   *
   * @param active The sources that count now.
   * @param log What the logs have at these paths, and `moments` where they have it from.
   * @param ownLast The latest of our own log about a path.
   */
  async agree(
    active: readonly Source[],
    paths: readonly PathName[],
    { log, moments }: { log: ReadonlyMap<PathName, Node>; moments: ReadonlyMap<PathName, LogMoment> },
    ownLast: (path: PathName) => Moment | undefined,
    refused: ReadonlySet<PathName> = NONE
  ): Promise<void> {
    const lines = new Map<Source, [PathName, Agreed][]>();
    for (const path of paths) {
      const moment = moments.get(path);
      const source = active.find(each => each.log.workspaceId === moment?.workspace) ?? active[0];
      if (source === undefined) continue;
      const before = this.on(path);
      const key = keyOf(log.get(path));
      const version = moment === undefined ? '' : versionId(moment);
      const present = { key, version, ownAt: nameOfLast(ownLast(path)), ...(refused.has(path) && { refused: true }) };
      if (sameAgreement(before, present)) continue;
      this.#n += 1;
      this.#files += (isFile(key) ? 1 : 0) - (isFile(before?.key ?? '') ? 1 : 0);
      const list = lines.get(source) ?? [];
      list.push([path, { ...present, n: this.#n }]);
      lines.set(source, list);
    }
    for (const [source, entries] of lines) await source.state?.agree(entries);
  }
}

function isFile(key: string): boolean {
  return key.startsWith('f') || key.startsWith('l');
}

function nameOfLast(moment: Moment | undefined): string {
  return moment === undefined ? '' : versionId(moment);
}
