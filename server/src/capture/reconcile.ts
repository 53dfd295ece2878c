/**
 * From what a scan found to changes: pairs moves, confirms what is gone, reads what differs, and hands the result to the
 * committer. Files that are too large to be read in one go, or that do not hold still, are taken aside so that they do not
 * hold up the others.
 */
import type { ChangeDraft, ChangeFlag, EntryType } from '../core/change.ts';
import { chunkContent, StreamChunker, type Chunk } from '../core/chunking.ts';
import { errnoOf } from '../core/errors.ts';
import type { IgnoreRules } from '../core/ignore-rules.ts';
import { findMoves, sameIdentity, type Identity, type Lost, type Seen } from '../core/moves.ts';
import type { PathName } from '../core/path-name.ts';
import type { LogWriter } from '../log/types.ts';
import type { Committer, Item, Latest } from './commit.ts';
import type { KnownTree } from './known.ts';
import { STAT_FIELDS, type FilesRead, type ReadPool } from './read-pool.ts';
import { Findings, type Candidate, type Scanner } from './scan.ts';
import { birthOf, entryType, statValues, type StatValues } from './stat-columns.ts';
import { isNotebook, isRacy, readLarge, readLink, readSmall, SMALL_BYTES } from './stable-read.ts';
import type { TimeSlice } from './time-slice.ts';

/** How one pass goes about its work. */
export interface Pass {
  /** Changes are being watched: what is found by walking is given time to settle, empty directories time to fill. */
  readonly live: boolean;
  readonly slice: TimeSlice;
  /** Record excluded paths too. */
  readonly force: boolean;
  /** Called after each path that was looked at. */
  readonly onDone?: (bytes: number) => void;
  /** Called once, with the number of paths to look at. */
  readonly onTotal?: (total: number) => void;
  /** Paths taken aside: their state is recorded later. */
  readonly aside: Set<PathName>;
  /** Paths that changed under our hands and must be looked at again. */
  readonly again: Set<PathName>;
  /** Paths read and found equal to their latest version. */
  unchanged: number;
}

export interface ReconcilerOptions {
  readonly log: LogWriter;
  readonly known: KnownTree;
  readonly rules: IgnoreRules;
  readonly scanner: Scanner;
  readonly committer: Committer;
  /** Larger files are recorded without content. Bytes. */
  readonly maxContentBytes: number;
  /** Throws when the root is not what it was; asked before anything is recorded as deleted. */
  readonly verifyRoot: () => void;
  /** `path` is to be looked at in `delay` milliseconds. */
  readonly later: (path: PathName, delay: number) => void;
  /** `path` was taken aside and is done with. */
  readonly settled: (path: PathName) => void;
  readonly problem: (path: PathName, code: string, message: string) => void;
  readonly signal: AbortSignal;
}

interface Unsettled {
  readonly since: number;
  attempts: number;
}

/** A file that does not hold still is stored as it is, flagged, after this time. Milliseconds. */
const GIVE_UP_MS = 1500;
const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 400;
/** An empty directory is recorded when it is still empty after this time. Milliseconds. */
const EMPTY_DIRECTORY_MS = 500;
/** A file that is empty since less than this is most likely about to be written: emptying comes first. Milliseconds. */
const EMPTIED_MS = 300;
/** What changed less than this ago is left to settle when it was met by walking. Milliseconds. */
const FRESH_MS = 20;
const NO_FLAGS: readonly ChangeFlag[] = [];
const NO_CHUNKS: readonly Chunk[] = [];
const LANES = 2;
/** Chunks of a large file go to the log in groups of this size. Bytes. */
const LANE_GROUP_BYTES = 4 * 1024 * 1024;

export class Reconciler {
  readonly #o: ReconcilerOptions;
  /** Files that did not hold still when they were read. */
  readonly #unsettled = new Map<PathName, Unsettled>();
  /** Empty directories seen, and when first. */
  readonly #emptySince = new Map<PathName, number>();
  /** Files met empty, and since when. */
  readonly #emptied = new Map<PathName, number>();
  /** Large files being read or waiting for it. `true`: look again afterwards. */
  readonly #lanes = new Map<PathName, boolean>();
  /** Inodes of files that a reading thread has read. */
  readonly #metInodes = new MaybeMet();
  readonly #laneQueue: { path: PathName; force: boolean }[] = [];
  #lanesRunning = 0;

  constructor(options: ReconcilerOptions) {
    this.#o = options;
  }

  /** Paths taken aside. */
  get aside(): number {
    return this.#unsettled.size + this.#lanes.size;
  }

  isAside(path: PathName): boolean {
    return this.#unsettled.has(path) || this.#lanes.has(path);
  }

  /** Records what `findings` call for. Resolves when it is handed to the log, not yet durable. */
  async reconcile(findings: Findings, pass: Pass): Promise<void> {
    this.#o.committer.takeAnnounced();
    const candidates = new Map<PathName, Candidate>();
    for (const candidate of findings.candidates) candidates.set(candidate.path, candidate);
    const { lost, deleted } = await this.#confirmGone(findings, candidates, pass);
    const moved = await this.#moves(candidates, lost, deleted, pass);
    if (deleted.size > 0) {
      this.#o.verifyRoot();
      await this.#recordDeleted(deleted, pass);
    }
    pass.onTotal?.(candidates.size);
    let n = 0;
    for (const candidate of candidates.values()) {
      if ((++n & 7) === 0 && pass.slice.spent()) {
        this.#o.committer.send();
        await pass.slice.rest();
      }
      if (this.#o.committer.mustHold()) await this.#o.committer.hold();
      const bytes = moved.has(candidate.path) ? 0 : this.#look(candidate, pass);
      pass.onDone?.(bytes);
    }
    this.#o.committer.send();
  }

  /**
   * Records files of which nothing is known, found by a first pass. With a pool many are on their way at a time: call
   * {@link finishFirst} in the end.
   */
  async reconcileFiles(files: readonly PathName[], pass: Pass, pool: ReadPool | undefined): Promise<void> {
    if (pool === undefined) {
      await this.#readHere(files, pass);
      return;
    }
    pool.read(files);
    while (pool.full) await this.#takeRead(pool, pass);
    if (pass.slice.spent()) await pass.slice.rest();
  }

  /** Records what the pool has still to give. */
  async finishFirst(pool: ReadPool, pass: Pass): Promise<void> {
    while (!pool.empty) {
      await this.#takeRead(pool, pass);
      if (pass.slice.spent()) await pass.slice.rest();
    }
  }

  async #takeRead(pool: ReadPool, pass: Pass): Promise<void> {
    const read = await pool.take();
    if (read === undefined) return;
    if (!('answer' in read)) {
      await this.#readHere(read, pass);
      return;
    }
    this.#o.committer.takeAnnounced();
    const left = this.#recordRead(read, pass);
    if (this.#o.committer.mustHold()) await this.#o.committer.hold();
    if (left.length > 0) await this.#readHere(left, pass);
  }

  /** Looks at files on this thread. */
  async #readHere(files: readonly PathName[], pass: Pass): Promise<void> {
    const findings = new Findings();
    for (const path of files) {
      try {
        const stats = this.#o.scanner.stat(path);
        if (stats === undefined) pass.again.add(path);
        else findings.candidates.push({ path, stats: statValues(stats), walked: true });
      } catch (error) {
        this.#o.problem(path, errnoOf(error) ?? 'INTERNAL', String(error));
      }
    }
    await this.reconcile(findings, pass);
  }

  /** Records files that the pool has read. Answers those that have to be looked at on this thread. */
  #recordRead({ paths, answer, blocks, release }: FilesRead, pass: Pass): PathName[] {
    const { committer, log, maxContentBytes } = this.#o;
    const left: PathName[] = [];
    const items: Item[] = [];
    const cut = new Map(answer.cut);
    const { buffer, byteOffset, length } = answer.hashes;
    const hashes = Buffer.from(buffer, byteOffset, length).toString('hex');
    paths.forEach((path, i) => {
      const stats = new SentStats(answer.stats, i);
      const plain = stats.read && stats.size <= maxContentBytes && !committer.isKnown(path);
      // A second name of a file, or the new name of one that was renamed meanwhile, is for the ordinary way to tell.
      if (!plain || this.#metInodes.add(stats.ino)) {
        left.push(path);
        return;
      }
      const hash = hashes.slice(i * 64, i * 64 + 64);
      const ids = cut.get(i);
      const { ref, chunks } = ids === undefined ? { ref: { chunks: [hash] }, chunks: NO_CHUNKS } : log.contentRef(ids);
      const draft: ChangeDraft = {
        kind: 'created',
        path,
        type: 'file',
        at: committer.nextAt(),
        mode: stats.mode & 0o7777,
        mtime: Math.round(stats.mtimeMs * 1000),
        size: stats.size,
        hash,
        content: ref,
        flags: NO_FLAGS
      };
      items.push({ draft, chunks, stats, sure: !isRacy(stats, stats.readAt) });
      pass.onDone?.(stats.size);
    });
    committer.addTogether(items, blocks, answer.bytes, release);
    return left;
  }

  /** Paths that did not hold still so far. */
  get unsettled(): PathName[] {
    return [...this.#unsettled.keys()];
  }

  /** Paths that were unsettled, were looked at in `pass`, and are settled now. */
  finishUnsettled(paths: Iterable<PathName>, pass: Pass): void {
    for (const path of paths) {
      if (this.#unsettled.has(path) && !pass.aside.has(path) && !pass.again.has(path)) {
        this.#unsettled.delete(path);
        this.#o.settled(path);
      }
      if (pass.aside.has(path)) continue;
      this.#emptySince.delete(path);
      this.#emptied.delete(path);
    }
  }

  /** Looks again at what was not in the listing: a directory that is being changed may hide an entry from a listing. */
  async #confirmGone(
    findings: Findings,
    candidates: Map<PathName, Candidate>,
    pass: Pass
  ): Promise<{ lost: Lost[]; deleted: Set<PathName> }> {
    const lost: Lost[] = [];
    const deleted = new Set<PathName>();
    const { known, rules, scanner } = this.#o;
    for (const [path, walked] of findings.gone) {
      if (pass.slice.spent()) await pass.slice.rest();
      const slot = known.slot(path);
      if (slot === undefined || candidates.has(path)) continue;
      const type = known.type(slot) ?? 'file';
      if (
        pass.force
          ? rules.excludedAlwaysDeep(path, type === 'directory')
          : rules.excludesDeep(path, type === 'directory')
      ) {
        continue;
      }
      let stats;
      try {
        stats = scanner.statInPlace(path);
      } catch (error) {
        if (errnoOf(error) !== 'ENOTDIR') {
          this.#o.problem(path, errnoOf(error) ?? 'INTERNAL', String(error));
          continue;
        }
      }
      const present = stats === undefined ? undefined : entryType(stats.mode);
      if (stats !== undefined && present !== undefined) {
        if (present !== 'directory') {
          candidates.set(path, { path, stats: statValues(stats), walked });
          continue;
        }
        if (type === 'directory') continue;
      }
      if (pass.live && walked) {
        pass.aside.add(path);
        this.#o.later(path, FRESH_MS);
        continue;
      }
      const identity = known.identity(slot);
      if (identity !== undefined) lost.push({ path, identity, refilled: false });
      deleted.add(path);
    }
    for (const { path, stats } of candidates.values()) {
      const slot = known.slot(path);
      const identity = slot === undefined ? undefined : known.identity(slot);
      if (identity !== undefined && !sameIdentity(identity, identityOf(stats))) {
        lost.push({ path, identity, refilled: true });
      }
    }
    return { lost, deleted };
  }

  /** Records moves. Answers the targets that need no reading. */
  async #moves(
    candidates: Map<PathName, Candidate>,
    lost: Lost[],
    deleted: Set<PathName>,
    pass: Pass
  ): Promise<Set<PathName>> {
    const { known, committer } = this.#o;
    const done = new Set<PathName>();
    if (known.size === 0) return done;
    const seen: Seen[] = [];
    let round = [...candidates.values()];
    // What is found under a wrong name may have taken the place of another: follow until nothing new turns up.
    while (round.length > 0) {
      const inodes = new Map<number, Seen[]>();
      for (const { path, stats } of round) {
        const slot = known.slot(path);
        const identity = identityOf(stats);
        const before = slot === undefined ? undefined : known.identity(slot);
        if (slot !== undefined && (before === undefined || sameIdentity(before, identity))) continue;
        const entry: Seen = { path, identity, known: slot !== undefined };
        seen.push(entry);
        const list = inodes.get(identity.ino);
        if (list === undefined) inodes.set(identity.ino, [entry]);
        else list.push(entry);
      }
      if (inodes.size === 0) break;
      if (pass.slice.spent()) await pass.slice.rest();
      round = this.#lostElsewhere(inodes, candidates, lost, deleted);
    }
    if (seen.length === 0) return done;
    const moves = findMoves(seen, lost);
    if (moves.length === 0) return done;
    this.#o.verifyRoot();
    // All sources as they were before the first of these moves: in a swap each is also a target.
    const sources = new Map<PathName, { latest: Latest; stats: StatValues | undefined; sure: boolean }>();
    for (const { from } of moves) {
      const latest = committer.latest(from);
      const slot = known.slot(from);
      if (latest !== undefined && slot !== undefined) {
        sources.set(from, { latest, stats: known.stats(slot), sure: known.isSure(slot) });
      }
    }
    const at = committer.nextAt();
    let n = 0;
    for (const { from, to } of moves) {
      if ((++n & 31) === 0 && pass.slice.spent()) await pass.slice.rest();
      if (committer.mustHold()) await committer.hold();
      const source = sources.get(from);
      const candidate = candidates.get(to);
      if (source === undefined || candidate === undefined) continue;
      const { latest, stats } = source;
      const same =
        stats !== undefined &&
        source.sure &&
        stats.mtimeMs === candidate.stats.mtimeMs &&
        stats.size === candidate.stats.size;
      const draft: ChangeDraft = {
        kind: 'moved',
        path: to,
        from,
        type: latest.type,
        flags: latest.flags,
        at,
        ...(latest.size !== undefined && { size: latest.size }),
        ...(latest.hash !== undefined && { hash: latest.hash, previousHash: latest.hash }),
        ...(latest.content !== undefined && { content: latest.content }),
        ...(latest.mtime !== undefined && { mtime: latest.mtime }),
        ...(latest.type === 'file'
          ? { mode: candidate.stats.mode & 0o7777 }
          : latest.mode !== undefined && { mode: latest.mode })
      };
      // The name changed, and with it the change time; whether the content did as well is settled by reading it, soon.
      committer.add(draft, [], candidate.stats, latest.type === 'directory');
      deleted.delete(from);
      if (same) {
        done.add(to);
        // Of many, the next scan takes care.
        if (latest.type !== 'directory' && moves.length <= 1000) this.#o.later(to, EMPTY_DIRECTORY_MS * 2);
      }
    }
    return done;
  }

  /** Known files whose identity was seen elsewhere and that are not where they were. Answers what stands there instead. */
  #lostElsewhere(
    inodes: ReadonlyMap<number, Seen[]>,
    candidates: Map<PathName, Candidate>,
    lost: Lost[],
    deleted: Set<PathName>
  ): Candidate[] {
    const found: Candidate[] = [];
    const { known, scanner, rules } = this.#o;
    const already = new Set(lost.map(entry => entry.path));
    for (const slot of known.slotsOfInodes(new Set(inodes.keys()))) {
      const path = known.path(slot);
      const identity = known.identity(slot);
      if (identity === undefined || already.has(path)) continue;
      if (inodes.get(identity.ino)?.some(seen => sameIdentity(seen.identity, identity)) !== true) continue;
      if (rules.excludesDeep(path, identity.type === 'directory')) continue;
      let stats;
      try {
        stats = scanner.statInPlace(path);
      } catch (error) {
        if (errnoOf(error) !== 'ENOTDIR') continue;
      }
      if (stats === undefined || entryType(stats.mode) === 'directory') {
        if (stats !== undefined && identity.type === 'directory') continue;
        lost.push({ path, identity, refilled: false });
        deleted.add(path);
      } else if (entryType(stats.mode) !== undefined && !sameIdentity(identity, identityOf(stats))) {
        lost.push({ path, identity, refilled: true });
        if (!candidates.has(path)) {
          const candidate: Candidate = { path, stats: statValues(stats), walked: false };
          candidates.set(path, candidate);
          found.push(candidate);
        }
      }
    }
    return found;
  }

  async #recordDeleted(deleted: ReadonlySet<PathName>, pass: Pass): Promise<void> {
    const { committer } = this.#o;
    const at = committer.nextAt();
    let n = 0;
    // What is below a directory goes before the directory.
    for (const path of [...deleted].sort().reverse()) {
      if ((++n & 31) === 0 && pass.slice.spent()) await pass.slice.rest();
      if (committer.mustHold()) await committer.hold();
      const latest = committer.latest(path);
      if (latest === undefined) continue;
      committer.add(deletion(path, latest, at), [], undefined, false);
    }
  }

  /** Looks at one path and records it when it differs from its latest version. Answers the bytes read. */
  #look(candidate: Candidate, pass: Pass): number {
    const { path, stats } = candidate;
    if (this.#lanes.has(path)) {
      this.#lanes.set(path, true);
      pass.aside.add(path);
      return 0;
    }
    if (pass.live && candidate.walked && Math.abs(Date.now() - stats.ctimeMs) < FRESH_MS) {
      pass.aside.add(path);
      this.#o.later(path, FRESH_MS);
      return 0;
    }
    this.#recordComeback(path, stats);
    switch (entryType(stats.mode)) {
      case 'directory':
        this.#lookDirectory(path, stats, pass);
        return 0;
      case 'symlink':
        this.#lookLink(path, stats, pass);
        return 0;
      default:
        if (stats.size > SMALL_BYTES) {
          this.#enterLane(path, pass);
          return 0;
        }
        return this.#lookFile(path, pass);
    }
  }

  /**
   * A receiver deleted the file, and somebody wrote it anew before it was missed: a deletion and a creation, even when the
   * content is the same. Were neither recorded, the log would say that the file was never gone, and the other side, from
   * which the deletion came, would never hear that it is back.
   */
  #recordComeback(path: PathName, stats: StatValues): void {
    const { committer, known } = this.#o;
    if (!committer.expectsDeletion(path)) return;
    const latest = committer.latest(path);
    const slot = known.slot(path);
    const identity = slot === undefined ? undefined : known.identity(slot);
    if (latest === undefined || identity === undefined || sameIdentity(identity, identityOf(stats))) return;
    committer.add(deletion(path, latest, committer.nextAt()), [], undefined, false);
  }

  #lookDirectory(path: PathName, stats: StatValues, pass: Pass): void {
    const latest = this.#o.committer.latest(path);
    if (latest?.type === 'directory') {
      this.#keepStats(path, stats, true, pass);
      return;
    }
    if (pass.live) {
      const since = this.#emptySince.get(path);
      const now = performance.now();
      if (since === undefined || now - since < EMPTY_DIRECTORY_MS) {
        if (since === undefined) this.#emptySince.set(path, now);
        this.#o.later(path, EMPTY_DIRECTORY_MS - (since === undefined ? 0 : now - since) + 5);
        pass.aside.add(path);
        return;
      }
    }
    this.#emptySince.delete(path);
    try {
      if (!this.#o.scanner.isEmpty(path)) return;
    } catch {
      pass.again.add(path);
      return;
    }
    this.#record(path, 'directory', latest, stats, {}, [], true);
  }

  #lookLink(path: PathName, stats: StatValues, pass: Pass): void {
    const result = readLink(this.#o.scanner.absolute(path));
    if (result.kind === 'link') {
      const latest = this.#o.committer.latest(path);
      if (latest?.type === 'symlink' && latest.hash === result.hash && latest.flags.length === 0) {
        this.#keepStats(path, stats, true, pass);
        return;
      }
      const { ref, chunks } = this.#o.log.contentRef([result.hash]);
      const content = { size: result.bytes.length, hash: result.hash, content: ref };
      this.#record(
        path,
        'symlink',
        latest,
        stats,
        content,
        [{ id: result.hash, bytes: result.bytes }, ...chunks],
        true
      );
    } else if (result.kind === 'unreadable') {
      this.#recordUnreadable(path, 'symlink', stats, result.code, result.message, pass);
    } else {
      pass.again.add(path);
    }
  }

  #lookFile(path: PathName, pass: Pass): number {
    const { committer, log, scanner } = this.#o;
    const result = readSmall(scanner.absolute(path), path, committer.room);
    switch (result.kind) {
      case 'gone':
      case 'other':
        pass.again.add(path);
        return 0;
      case 'large':
        this.#enterLane(path, pass);
        return 0;
      case 'busy':
        this.#o.problem(path, result.code, result.message);
        this.#putAside(path, pass);
        return 0;
      case 'unreadable': {
        const stats = this.#statQuietly(path);
        if (stats === undefined) pass.again.add(path);
        else this.#recordUnreadable(path, 'file', stats, result.code, result.message, pass);
        return 0;
      }
      case 'content': {
        const { bytes, hash, stats } = result;
        const latest = committer.latest(path);
        if ((result.moved || (result.broken && !isKnownTorn(latest, hash))) && !this.#putAside(path, pass)) {
          return bytes.length;
        }
        if (this.#isBeingRefilled(path, bytes, stats, latest, pass)) return 0;
        const flags: ChangeFlag[] = result.moved || result.broken ? ['torn'] : [];
        const sure = !result.moved && !isRacy(stats, result.readAt);
        if (bytes.length > this.#o.maxContentBytes) flags.push('no-content');
        if (isSame(latest, hash, stats, flags)) {
          this.#keepStats(path, stats, sure, pass);
          return bytes.length;
        }
        if (flags.includes('no-content')) {
          this.#record(path, 'file', latest, stats, { size: bytes.length, hash, flags }, [], sure);
          return bytes.length;
        }
        committer.keep(bytes);
        const chunks = chunkContent(bytes, { notebook: isNotebook(path), contentHash: hash });
        const { ref, chunks: listChunks } = log.contentRef(chunks.map(chunk => chunk.id));
        if (listChunks.length > 0) chunks.push(...listChunks);
        this.#record(path, 'file', latest, stats, { size: bytes.length, hash, content: ref, flags }, chunks, sure);
        return bytes.length;
      }
    }
  }

  /**
   * A file that was emptied a moment ago is looked at again before that counts as a version, but not for ever. Its times alone do not say that: the
   * kernel sets the size before them, and who looks in between sees an empty file with the times of the full one.
   */
  #isBeingRefilled(path: PathName, bytes: Buffer, stats: StatValues, latest: Latest | undefined, pass: Pass): boolean {
    const now = performance.now();
    const age = Date.now() - stats.ctimeMs;
    const since = this.#emptied.get(path) ?? now;
    const young = age >= 0 && age < EMPTIED_MS;
    const wait = young ? EMPTIED_MS - age : (latest?.size ?? 0) > 0 ? EMPTIED_MS - (now - since) : 0;
    if (!pass.live || bytes.length > 0 || wait <= 0 || now - since >= GIVE_UP_MS) {
      this.#emptied.delete(path);
      return false;
    }
    this.#emptied.set(path, since);
    pass.aside.add(path);
    this.#o.later(path, wait + 5);
    return true;
  }

  #statQuietly(path: PathName): StatValues | undefined {
    try {
      const stats = this.#o.scanner.statInPlace(path);
      return stats === undefined ? undefined : statValues(stats);
    } catch {
      return undefined;
    }
  }

  /** Takes a file aside that did not hold still. `true`: its time is up, take it as it is. */
  #putAside(path: PathName, pass: Pass): boolean {
    const now = performance.now();
    const entry = this.#unsettled.get(path) ?? { since: now, attempts: 0 };
    if (now - entry.since >= GIVE_UP_MS) return true;
    const delay = Math.min(
      LAST_RETRY_MS,
      FIRST_RETRY_MS * 2 ** entry.attempts,
      Math.max(FIRST_RETRY_MS, entry.since + GIVE_UP_MS - now)
    );
    entry.attempts += 1;
    this.#unsettled.set(path, entry);
    pass.aside.add(path);
    this.#o.later(path, delay);
    return false;
  }

  #recordUnreadable(
    path: PathName,
    type: EntryType,
    stats: StatValues,
    code: string,
    message: string,
    pass: Pass
  ): void {
    this.#o.problem(path, code, message);
    const latest = this.#o.committer.latest(path);
    if (latest?.type === type && latest.flags.includes('unreadable')) {
      this.#keepStats(path, stats, true, pass);
      return;
    }
    this.#record(
      path,
      type,
      latest,
      stats,
      { flags: ['unreadable'], ...(type === 'file' && { size: stats.size }) },
      [],
      true
    );
  }

  /** Content as it was: only the stat values are new. */
  #keepStats(path: PathName, stats: StatValues, sure: boolean, pass: Pass): void {
    pass.unchanged += 1;
    const { known, committer } = this.#o;
    const slot = known.slot(path);
    if (slot !== undefined && committer.latest(path) !== undefined) known.set(slot, stats, sure);
  }

  #record(
    path: PathName,
    type: EntryType,
    latest: Latest | undefined,
    stats: StatValues,
    content: Partial<Pick<ChangeDraft, 'size' | 'hash' | 'content' | 'flags'>>,
    chunks: Parameters<Committer['add']>[1],
    sure: boolean
  ): void {
    const { committer } = this.#o;
    const draft: ChangeDraft = {
      kind: latest === undefined ? 'created' : 'modified',
      path,
      type,
      at: committer.nextAt(),
      mode: stats.mode & 0o7777,
      mtime: Math.round(stats.mtimeMs * 1000),
      ...(latest?.hash !== undefined && { previousHash: latest.hash }),
      ...content,
      flags: content.flags ?? []
    };
    committer.add(draft, chunks, stats, sure);
  }

  #enterLane(path: PathName, pass: Pass): void {
    pass.aside.add(path);
    if (this.#lanes.has(path)) {
      this.#lanes.set(path, true);
      return;
    }
    this.#lanes.set(path, false);
    this.#laneQueue.push({ path, force: pass.force });
    this.#runLanes();
  }

  #runLanes(): void {
    while (this.#lanesRunning < LANES) {
      const next = this.#laneQueue.shift();
      if (next === undefined) return;
      this.#lanesRunning += 1;
      void this.#readInLane(next.path)
        .catch((error: unknown) => {
          this.#o.problem(next.path, errnoOf(error) ?? 'INTERNAL', String(error));
          this.#o.later(next.path, GIVE_UP_MS);
        })
        .finally(() => {
          this.#lanesRunning -= 1;
          const again = this.#lanes.get(next.path) === true;
          this.#lanes.delete(next.path);
          if (again) this.#lookAgain(next.path, FRESH_MS);
          if (!this.#unsettled.has(next.path)) this.#o.settled(next.path);
          this.#runLanes();
        });
    }
  }

  /** What was read is not what stands there by now: whoever waits for the path waits until that has been looked at. */
  #lookAgain(path: PathName, delay: number): void {
    if (!this.#unsettled.has(path)) this.#unsettled.set(path, { since: performance.now(), attempts: 0 });
    this.#o.later(path, delay);
  }

  /** Whether a large file that looks as it did has the content it had: hashing alone is much less work than cutting it up. */
  async #isAsKnown(path: PathName, present: StatValues): Promise<boolean> {
    const { committer, known, scanner } = this.#o;
    const slot = known.slot(path);
    const latest = committer.latest(path);
    if (slot === undefined || latest?.hash === undefined || !known.sameStat(slot, present)) return false;
    const result = await readLarge(scanner.absolute(path), path, undefined, this.#o.signal);
    if (result.kind !== 'content' || result.moved || result.hash !== latest.hash) return false;
    if (!isSame(committer.latest(path), result.hash, result.stats, latest.flags)) return false;
    const again = known.slot(path);
    if (again !== undefined && known.sameStat(again, result.stats)) {
      known.set(again, result.stats, !isRacy(result.stats, result.readAt));
    }
    this.#unsettled.delete(path);
    return true;
  }

  async #readInLane(path: PathName): Promise<void> {
    const { committer, log, scanner, maxContentBytes, known } = this.#o;
    const present = this.#statQuietly(path);
    if (present === undefined) {
      this.#lookAgain(path, 0);
      return;
    }
    this.#recordComeback(path, present);
    if (await this.#isAsKnown(path, present)) return;
    const keep = present.size <= maxContentBytes;
    const chunker = new StreamChunker(present.size);
    const ids: string[] = [];
    let group: Chunk[] = [];
    let groupBytes = 0;
    const put = async (chunks: readonly Chunk[], last: boolean): Promise<void> => {
      for (const chunk of chunks) {
        ids.push(chunk.id);
        group.push(chunk);
        groupBytes += chunk.bytes.length;
      }
      if (group.length === 0 || (groupBytes < LANE_GROUP_BYTES && !last)) return;
      const full = group;
      group = [];
      groupBytes = 0;
      await log.putChunks(full);
    };
    const result = await readLarge(
      scanner.absolute(path),
      path,
      keep ? piece => put(chunker.push(piece), false) : undefined,
      this.#o.signal
    );
    const pass: Pass = {
      live: true,
      slice: { spent: () => false } as never,
      force: false,
      aside: new Set(),
      again: new Set(),
      unchanged: 0
    };
    switch (result.kind) {
      case 'gone':
      case 'other':
        this.#lookAgain(path, 0);
        return;
      case 'busy':
        if (!this.#o.signal.aborted) this.#putAside(path, pass);
        return;
      case 'unreadable':
        this.#unsettled.delete(path);
        this.#recordUnreadable(path, 'file', present, result.code, result.message, pass);
        break;
      case 'content': {
        const torn = result.moved || result.broken;
        if (
          torn &&
          (result.moved || !isKnownTorn(committer.latest(path), result.hash)) &&
          !this.#putAside(path, pass)
        ) {
          return;
        }
        if (keep) {
          await put(result.whole === undefined ? chunker.end() : chunkContent(result.whole, { notebook: true }), true);
        }
        // The path may have come to mean another file while this one was read.
        const now = this.#statQuietly(path);
        if (now === undefined || now.ino !== result.stats.ino || now.dev !== result.stats.dev) {
          this.#lookAgain(path, 0);
          return;
        }
        this.#unsettled.delete(path);
        const latest = committer.latest(path);
        const flags: ChangeFlag[] = [...(torn ? (['torn'] as const) : []), ...(keep ? [] : (['no-content'] as const))];
        const sure = !result.moved && !isRacy(result.stats, result.readAt);
        if (isSame(latest, result.hash, result.stats, flags)) {
          const slot = known.slot(path);
          if (slot !== undefined) known.set(slot, result.stats, sure);
          return;
        }
        const { ref, chunks } = log.contentRef(ids);
        this.#record(
          path,
          'file',
          latest,
          result.stats,
          { size: result.size, hash: result.hash, flags, ...(keep && { content: ref }) },
          chunks,
          sure
        );
      }
    }
    await committer.settle();
  }
}

/** Numbers that may have been met before: never wrong when it says no. */
class MaybeMet {
  readonly #bits = new Uint8Array(1 << 20);

  /** Adds a number; answers whether it may have been there. */
  add(n: number): boolean {
    const at = n % this.#bits.length;
    const met = this.#bits[at] === 1;
    this.#bits[at] = 1;
    return met;
  }
}

/** Stat values as a reading thread sends them: a view, for there are very many. */
class SentStats implements StatValues {
  readonly #fields: Float64Array;
  readonly #at: number;

  constructor(fields: Float64Array, file: number) {
    this.#fields = fields;
    this.#at = file * STAT_FIELDS;
  }

  #field(n: number): number {
    return this.#fields[this.#at + n] ?? 0;
  }

  /** False where nothing was read, or nothing at rest. */
  get read(): boolean {
    return !Number.isNaN(this.#field(0));
  }
  get dev(): number {
    return this.#field(0);
  }
  get ino(): number {
    return this.#field(1);
  }
  get size(): number {
    return this.#field(2);
  }
  get mtimeMs(): number {
    return this.#field(3);
  }
  get ctimeMs(): number {
    return this.#field(4);
  }
  get birthtimeMs(): number {
    return this.#field(5);
  }
  get mode(): number {
    return this.#field(6);
  }
  /** When the read began, milliseconds since the epoch. */
  get readAt(): number {
    return this.#field(7);
  }
}

function identityOf(stats: StatValues): Identity {
  return {
    type: entryType(stats.mode) ?? 'file',
    dev: stats.dev,
    ino: stats.ino,
    birth: birthOf(stats),
    mtime: stats.mtimeMs,
    size: stats.size
  };
}

/** A notebook that is no JSON and is already recorded so: there is nothing to wait for. */
function isKnownTorn(latest: Latest | undefined, hash: string): boolean {
  return latest?.hash === hash && latest.flags.includes('torn');
}

/** Whether a file's latest version already says all there is to say. */
function deletion(path: PathName, latest: Latest, at: number): ChangeDraft {
  return {
    kind: 'deleted',
    path,
    type: latest.type,
    flags: [],
    at,
    ...(latest.hash !== undefined && { previousHash: latest.hash })
  };
}

function isSame(latest: Latest | undefined, hash: string, stats: StatValues, flags: readonly ChangeFlag[]): boolean {
  return (
    latest?.type === 'file' &&
    latest.hash === hash &&
    latest.mode === (stats.mode & 0o7777) &&
    latest.flags.length === flags.length &&
    latest.flags.every(flag => flags.includes(flag))
  );
}
