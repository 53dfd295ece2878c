/**
 * Live changes for panels: server-sent events. Changes are collected for a moment and sent as one event, whose id is the
 * version id of its last change; who comes back with that id gets what was missed, or a `reset` when that is too much.
 * A reader that does not keep up is dropped: it comes back and catches up by id, and nothing piles up here meanwhile.
 */
import type { Response } from 'express';
import { versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { ChangeRecord, HistoryQueries } from '../index/history-queries.ts';
import { NOTHING_SAID, type Said } from '../library/said.ts';
import type { ChangeRow, LiveEvents, Status } from './contract.ts';
import { toRow } from './rows.ts';
import type { ApiLogger } from './server.ts';
import type { WorkspaceService } from './service.ts';

export interface LiveEventsOptions {
  readonly service: WorkspaceService;
  readonly index: HistoryQueries;
  readonly status: () => Status;
  /** Messages of the inbox that nobody has looked at. Absent: there is no inbox. */
  readonly unread?: (() => Promise<number>) | undefined;
  readonly logger: ApiLogger;
  /** Milliseconds between comments that keep the connection open. Default 15,000. */
  readonly heartbeatMs?: number | undefined;
  /** Bytes a reader may be behind before it is dropped. Default 4 MiB. */
  readonly maxBehind?: number | undefined;
}

interface Reader {
  readonly response: Response;
  /** Live batches that came while the missed ones are being sent. */
  waiting: ChangeRecord[] | undefined;
  /** Highest seq sent, by device: what is collected for all when a reader connects may be among what it missed. */
  readonly sent: Map<string, number>;
}

/** Milliseconds changes, and states, are collected. */
const COLLECT_MS = 50;
const STATUS_MS = 200;
const REPLAY_LIMIT = 5000;
const ROWS_PER_EVENT = 500;
/** Milliseconds the index is waited for; then rows go out without what stood before them. */
const INDEX_PATIENCE_MS = 2000;

/** See the file's first lines. */
export class LiveEventHub {
  readonly #options: LiveEventsOptions;
  readonly #readers = new Set<Reader>();
  readonly #heartbeat: NodeJS.Timeout;
  #collected: Change[] = [];
  #overflowed = false;
  #timer: NodeJS.Timeout | undefined;
  #statusTimer: NodeJS.Timeout | undefined;
  #messagesTimer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();
  #lastStatus = '';
  #closed = false;

  readonly #onChange = (change: Change): void => {
    if (this.#readers.size === 0) return;
    if (this.#collected.length >= REPLAY_LIMIT) {
      this.#overflowed = true;
      this.#collected = [];
    }
    this.#collected.push(change);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#sending = this.#sending.then(() => this.#send());
    }, COLLECT_MS);
  };

  constructor(options: LiveEventsOptions) {
    this.#options = options;
    options.service.on('change', this.#onChange);
    options.service.on('status', this.statusChanged);
    options.service.on('said', this.#onSaid);
    options.service.on('messages', this.#onMessages);
    this.#heartbeat = setInterval(() => {
      for (const reader of this.#readers) this.#write(reader, ':\n\n');
    }, options.heartbeatMs ?? 15_000);
    this.#heartbeat.unref();
  }

  /** Tells readers the status, soon and once. */
  readonly statusChanged = (): void => {
    if (this.#readers.size === 0 || this.#closed) return;
    this.#statusTimer ??= setTimeout(() => {
      this.#statusTimer = undefined;
      const data = JSON.stringify(this.#options.status());
      if (data === this.#lastStatus) return;
      this.#lastStatus = data;
      for (const reader of this.#readers) this.#write(reader, `event: status\ndata: ${data}\n\n`);
    }, STATUS_MS);
  };

  /** Rows that were sent say something else now. */
  readonly #onSaid = (): void => {
    for (const reader of this.#readers) this.#event(reader, 'reset', {}, undefined);
  };

  /** Told soon and once, however many messages came. */
  readonly #onMessages = (): void => {
    const { unread, logger } = this.#options;
    if (this.#readers.size === 0 || this.#closed || unread === undefined) return;
    this.#messagesTimer ??= setTimeout(() => {
      this.#messagesTimer = undefined;
      unread().then(
        count => {
          for (const reader of this.#readers) this.#event(reader, 'messages', { unread: count }, undefined);
        },
        (error: unknown) => logger.warn({ err: error }, 'the message box could not be read')
      );
    }, COLLECT_MS);
  };

  /** Readers connected now. */
  get size(): number {
    return this.#readers.size;
  }

  /**
   * Answers a request with events until either side ends it.
   *
   * @param lastEventId The version id after which the reader missed what came.
   */
  async connect(response: Response, lastEventId: string | undefined): Promise<void> {
    response.status(200).set({ 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' });
    response.flushHeaders();
    if (response.req.method === 'HEAD' || this.#closed) {
      response.end();
      return;
    }
    const reader: Reader = { response, waiting: [], sent: new Map() };
    this.#readers.add(reader);
    response.on('close', () => this.#readers.delete(reader));
    response.on('error', () => this.#readers.delete(reader));
    const status = JSON.stringify(this.#options.status());
    this.#lastStatus = status;
    this.#write(reader, `retry: 1000\nevent: status\ndata: ${status}\n\n`);
    try {
      await this.#replay(reader, lastEventId);
    } catch (error) {
      // Without an index nothing can be replayed, and what comes from now on still can be sent.
      if (!(error instanceof SyftError)) this.#options.logger.warn({ err: error }, 'missed changes could not be sent');
      if (lastEventId !== undefined) this.#event(reader, 'reset', {}, undefined);
    }
    const said = await this.#said();
    const waiting = reader.waiting ?? [];
    reader.waiting = undefined;
    this.#rows(reader, waiting, said);
  }

  async #replay(reader: Reader, lastEventId: string | undefined): Promise<void> {
    const { index } = this.#options;
    const newest = async (): Promise<Change | undefined> => (await index.changes({ limit: 1 })).records[0]?.change;
    if (lastEventId === undefined) {
      // An id without data: remembered by the reader, announced to nobody.
      const change = await newest();
      if (change !== undefined) this.#write(reader, `id: ${versionId(change)}\n\n`);
      return;
    }
    const missed = await index
      .changes({ limit: REPLAY_LIMIT, after: lastEventId, oldestFirst: true })
      .catch((error: unknown) => {
        if (error instanceof SyftError && error.code === 'VERSION_NOT_FOUND') return undefined;
        throw error;
      });
    if (missed === undefined || missed.total > REPLAY_LIMIT) {
      const change = await newest();
      this.#event(reader, 'reset', {}, change === undefined ? undefined : versionId(change));
      if (change !== undefined) reader.sent.set(change.device, change.seq);
      return;
    }
    this.#rows(reader, missed.records, await this.#said());
  }

  async #send(): Promise<void> {
    const changes = this.#collected;
    const overflowed = this.#overflowed;
    this.#collected = [];
    this.#overflowed = false;
    if (this.#readers.size === 0 || this.#closed) return;
    if (overflowed) {
      const last = changes.at(-1);
      for (const reader of this.#readers) {
        this.#event(reader, 'reset', {}, last === undefined ? undefined : versionId(last));
      }
      return;
    }
    const [records, said] = await Promise.all([this.#records(changes), this.#said()]);
    for (const reader of this.#readers) {
      if (reader.waiting === undefined) {
        this.#rows(reader, records, said);
      } else if (reader.waiting.length + records.length > REPLAY_LIMIT) {
        reader.response.destroy();
      } else {
        reader.waiting.push(...records);
      }
    }
  }

  /** The changes with what stood before each, when the index says so in time. */
  async #records(changes: readonly Change[]): Promise<ChangeRecord[]> {
    const plain = changes.map(change => ({ change }));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<ChangeRecord[]>(resolve => {
      timer = setTimeout(() => resolve(plain), INDEX_PATIENCE_MS);
    });
    try {
      return await Promise.race([this.#options.index.recordsOf(changes).catch(() => plain), patience]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What is said of versions; a log that is just being closed has nothing more to say. */
  async #said(): Promise<Said> {
    try {
      return await this.#options.service.said();
    } catch (error) {
      if (!(error instanceof SyftError)) this.#options.logger.warn({ err: error }, 'labels and pins could not be read');
      return NOTHING_SAID;
    }
  }

  #rows(reader: Reader, records: readonly ChangeRecord[], said: Said): void {
    const fresh = records.filter(({ change }) => change.seq > (reader.sent.get(change.device) ?? 0));
    for (let i = 0; i < fresh.length; i += ROWS_PER_EVENT) {
      const part = fresh.slice(i, i + ROWS_PER_EVENT);
      const last = part.at(-1) as ChangeRecord;
      const rows: ChangeRow[] = part.map(record => toRow(record, said));
      this.#event(reader, 'changes', { changes: rows }, versionId(last.change));
    }
    for (const { change } of fresh) reader.sent.set(change.device, change.seq);
  }

  #event<K extends keyof LiveEvents>(reader: Reader, name: K, data: LiveEvents[K], id: string | undefined): void {
    this.#write(reader, `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #write(reader: Reader, text: string): void {
    const { response } = reader;
    if (response.destroyed || response.writableEnded) return;
    response.write(text);
    if (response.writableLength > (this.#options.maxBehind ?? 4 * 1024 * 1024)) {
      this.#options.logger.warn(
        { behind: response.writableLength },
        'a reader of live changes does not keep up and is dropped'
      );
      this.#readers.delete(reader);
      response.destroy();
    }
  }

  /** Ends all streams. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    clearTimeout(this.#statusTimer);
    clearTimeout(this.#messagesTimer);
    this.#options.service.off('change', this.#onChange);
    this.#options.service.off('status', this.statusChanged);
    this.#options.service.off('said', this.#onSaid);
    this.#options.service.off('messages', this.#onMessages);
    for (const reader of this.#readers) reader.response.end();
    this.#readers.clear();
  }
}
