/**
 * What is about to be shared: the files, to whom, where to. It outlives the dialog, which closes while files are chosen.
 *
 * Invariant: what is sent are the versions that `files` shows as chosen, and nothing that was written since.
 */
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';
import type { TranslationBundle } from '@jupyterlab/translation';

import type {
  ChangeRow,
  ContactDto,
  PlanMessageResult,
  ShareMessageRequest,
  ShareMessageResult
} from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { ClientError, messageOf } from '../client/errors';
import { hasContent } from '../history/words';
import { archivePath, placeFault, proposedPath, recipientFault, recipientsIn, sealingOf, withMailbox } from './words';
import type { Sealing } from './words';

/** Versions of a file that can be chosen from. */
const MOST_VERSIONS = 200;

/** What was asked to be shared. */
export interface Given {
  /** Files and folders of the workspace. */
  paths?: readonly string[];
  versions?: readonly string[];
  recipients?: readonly string[];
  /** Id of the message that it answers. */
  replyTo?: string;
}

export interface SharedFile {
  readonly path: string;
  readonly versionId: string;
  readonly size: number;
  readonly chosen: boolean;
  /** The newest, as far as is known; a version that was asked for by its id may be it or not. */
  readonly newest: boolean;
  /** When it was recorded, ISO 8601, where another than the newest was chosen. */
  readonly at?: string;
}

export type Whereto = 'workspace' | 'download' | 'mailbox';
export type Field = 'files' | 'recipients' | 'place' | 'mailbox' | 'whole';

export interface Problem {
  readonly field: Field;
  /** A sentence. */
  readonly text: string;
}

export class ShareForm {
  constructor(options: ShareForm.IOptions) {
    this._client = options.client;
    this._trans = options.trans;
    this._recording = options.recording;
    this._paths = [...(options.given.paths ?? [])];
    this._versions = [...(options.given.versions ?? [])];
    this.recipients = [...new Set(options.given.recipients ?? [])];
    this.replyTo = options.given.replyTo;
  }

  readonly replyTo: string | undefined;

  state: 'planning' | 'ready' | 'failed' = 'planning';
  files: readonly SharedFile[] = [];
  /** What was asked for and cannot be sent. */
  refused: PlanMessageResult['refused'] = [];
  recipients: readonly string[];
  /** What is typed as a recipient and not yet one. */
  typed = '';
  note = '';
  /** Whether it is encrypted where it can be. */
  encrypt = true;
  whereto: Whereto = 'workspace';
  /** Path in the workspace, as it is typed. */
  place = '';
  /** What the place is while nobody has typed another. */
  proposed = '';
  /** Whose mailbox. */
  mailbox = '';
  /** Undefined: there is nobody who knows them. */
  contacts: readonly ContactDto[] | undefined;
  /** Undefined: it is being asked. */
  sealing: Sealing | undefined = { kind: 'nobody' };
  problem: Problem | undefined;
  /** The message is being made. */
  get busy(): boolean {
    return this._sending !== undefined;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** There are keys of recipients, so that whether they are used is a question. */
  get canEncrypt(): boolean {
    return this.sealing?.kind === 'sealed' || this.sealing?.kind === 'mixed';
  }

  get isEmpty(): boolean {
    return this._paths.length + this._versions.length === 0;
  }

  get chosen(): readonly SharedFile[] {
    return this.files.filter(({ chosen }) => chosen);
  }

  /** Those it is for, the owner of the mailbox among them. */
  get addressees(): readonly string[] {
    const { recipients, mailbox } = this;
    return this.whereto === 'mailbox' && mailbox !== '' && !recipients.includes(mailbox)
      ? [...recipients, mailbox]
      : recipients;
  }

  /** Changes what a person may change; a problem that was shown may be none any more. */
  set(change: Partial<Pick<ShareForm, 'typed' | 'note' | 'encrypt' | 'whereto' | 'place' | 'mailbox'>>): void {
    Object.assign(this, change);
    this.problem = undefined;
    this._changed.emit();
    if (change.whereto !== undefined || change.mailbox !== undefined) this._seal();
  }

  choose(indexes: Iterable<number>, chosen: boolean): void {
    const which = new Set(indexes);
    this.files = this.files.map((file, index) => (which.has(index) ? { ...file, chosen } : file));
    this.problem = undefined;
    this._changed.emit();
  }

  /** Proposes another place, unless one was typed. */
  propose(place: string): void {
    if (this.place === this.proposed) this.place = place;
    this.proposed = place;
    this._changed.emit();
  }

  /** The versions of a file that can be sent in its place, newest first. */
  async versionsOf(file: SharedFile): Promise<readonly ChangeRow[]> {
    const { changes } = await this._client.history(file.path, { limit: MOST_VERSIONS });
    // One from before a move is of another path, and would stand beside this one.
    return changes.filter(row => row.path === file.path && hasContent(row));
  }

  chooseVersion(index: number, row: ChangeRow, newest: boolean): void {
    this.files = this.files.map((file, at) =>
      at === index
        ? {
            path: file.path,
            versionId: row.versionId,
            size: row.size ?? 0,
            chosen: true,
            newest,
            ...(!newest && { at: row.at })
          }
        : file
    );
    this.problem = undefined;
    this._changed.emit();
  }

  /** @param paths - files of the workspace, besides those that are there */
  async add(paths: readonly string[]): Promise<void> {
    this._paths.push(...paths.filter(path => !this._paths.includes(path)));
    await this.plan();
  }

  /** Takes what is typed for recipients. @returns whether nothing is left over */
  addTyped(): boolean {
    const added = recipientsIn(this.typed);
    for (const recipient of added) {
      const fault = recipientFault(recipient, this._trans);
      if (fault !== undefined) {
        this._fail('recipients', fault);
        return false;
      }
    }
    this.typed = '';
    if (this.problem?.field === 'recipients') this.problem = undefined;
    if (added.length > 0) {
      this.recipients = [...new Set([...this.recipients, ...added])];
      this._seal();
    }
    this._changed.emit();
    return true;
  }

  removeRecipient(recipient: string): void {
    this.recipients = this.recipients.filter(one => one !== recipient);
    this.problem = undefined;
    this._changed.emit();
    this._seal();
  }

  /** Asks what would be sent, of what is on disk now, and whom there is to send it to. */
  async plan(): Promise<void> {
    this.state = 'planning';
    this._changed.emit();
    const contacts = this._client.contacts().then(
      found => found.contacts,
      (error: unknown) => {
        // Without contacts it can be shared all the same.
        if (error instanceof ClientError) return undefined;
        throw error;
      }
    );
    try {
      // Only what is durable can be sent, and what is meant is what was saved just now.
      if (this._recording() && this._paths.length > 0) await this._client.flush();
      await this._planFiles();
      this.contacts = await contacts;
      this.mailbox ||= withMailbox(this.contacts ?? []).find(name => this.recipients.includes(name)) ?? '';
      // What was typed meanwhile stands.
      if (this.place === this.proposed) this.place = this.proposed = proposedPath(this._proposedFrom());
      this.state = 'ready';
    } catch (error) {
      this.state = 'failed';
      this._fail('files', messageOf(error, this._trans));
    }
    this._changed.emit();
    this._seal();
    await this._sealed;
  }

  /**
   * Makes the message. What is in its way is in `problem` then.
   *
   * @returns what was made; undefined when it was not, or was cancelled
   */
  async share(): Promise<ShareMessageResult | undefined> {
    if (this.busy || this.state === 'failed' || !this.addTyped()) return undefined;
    this.problem = undefined;
    if (this.sealing === undefined) {
      // Who has just been named may have no key: that it is not encrypted is to be seen before it is sent.
      if ((await this._sealed)?.kind === 'open') this._fail('recipients', '');
    }
    if (this.problem !== undefined || !this._check()) return undefined;
    const { note, replyTo } = this;
    const recipients = [...this.addressees];
    const sending = (this._sending = new AbortController());
    this._changed.emit();
    try {
      const request: ShareMessageRequest = {
        versions: this.chosen.map(({ versionId }) => versionId),
        ...(note.trim() !== '' && { note }),
        ...(recipients.length > 0 && { recipients }),
        ...(replyTo !== undefined && { replyTo }),
        // What the dialog has said is what happens, whatever became known meanwhile.
        ...(recipients.length > 0 && { encrypt: this.encrypt && this.sealing?.kind === 'sealed' }),
        deliver: this._deliver()
      };
      return await this._client.shareMessage(request, sending.signal);
    } catch (error) {
      if (!sending.signal.aborted) this._fail(this._fieldOf(error), messageOf(error, this._trans));
      return undefined;
    } finally {
      this._sending = undefined;
      this._changed.emit();
    }
  }

  /** Breaks off what is being made. */
  cancel(): void {
    this._sending?.abort();
    this._asking.abort();
  }

  private _deliver(): ShareMessageRequest['deliver'] {
    switch (this.whereto) {
      case 'workspace':
        return { path: archivePath(this.place) };
      case 'mailbox':
        return { contact: this.mailbox };
      case 'download':
        return { keep: true };
    }
  }

  private _check(): boolean {
    const trans = this._trans;
    if (this.state !== 'ready') {
      this._fail('files', trans.__('What is to be sent is not known yet.'));
    } else if (this.chosen.length === 0) {
      this._fail(
        'files',
        this.files.length === 0
          ? trans.__('There is nothing in it that can be sent.')
          : trans.__('Choose a file at least.')
      );
    } else if (this.sealing?.kind === 'mixed' && this.encrypt) {
      this._fail('recipients', '');
    } else if (this.whereto === 'workspace') {
      const fault = placeFault(archivePath(this.place), trans);
      if (fault !== undefined) this._fail('place', fault);
    } else if (this.whereto === 'mailbox' && this.mailbox === '') {
      this._fail('mailbox', trans.__('Choose whose mailbox.'));
    }
    return this.problem === undefined;
  }

  private async _planFiles(): Promise<void> {
    this.refused = [];
    let paths = [...this._paths];
    for (;;) {
      if (paths.length + this._versions.length === 0) {
        this.files = [];
        return;
      }
      try {
        const { files, refused } = await this._client.planMessage({
          ...(paths.length > 0 && { paths }),
          ...(this._versions.length > 0 && { versions: this._versions })
        });
        this._take(files);
        this.refused = [...this.refused, ...refused];
        return;
      } catch (error) {
        const { code, path, message } = error instanceof ClientError ? error : ({} as Partial<ClientError>);
        // What is not recorded, as what is excluded, keeps nothing else from being sent.
        if (code !== 'PATH_NOT_FOUND' || path === undefined || !paths.includes(path) || message === undefined) {
          throw error;
        }
        paths = paths.filter(one => one !== path);
        this.refused = [...this.refused, { path, reason: message }];
      }
    }
  }

  /** What was chosen before stays so. */
  private _take(files: PlanMessageResult['files']): void {
    const before = new Map(this.files.map(file => [file.path, file]));
    const named = new Set(this._versions);
    this.files = files.map(file => {
      const known = before.get(file.path);
      if (known !== undefined) return known.newest ? { ...known, ...file } : known;
      return { ...file, chosen: true, newest: !named.has(file.versionId) };
    });
  }

  private _proposedFrom(): readonly string[] {
    if (this._paths.length > 0) return this._paths;
    return this.files.map(({ path }) => path);
  }

  /** Whether it is sealed depends on the recipients alone: one file is enough to ask. */
  private _seal(): void {
    this._sealed = this._askSealing();
  }

  private async _askSealing(): Promise<Sealing | undefined> {
    this._asking.abort();
    const { signal } = (this._asking = new AbortController());
    const recipients = [...this.addressees];
    const [file] = this.files;
    if (recipients.length === 0 || file === undefined) {
      this.sealing = { kind: recipients.length === 0 ? 'nobody' : 'unasked' };
      this._changed.emit();
      return this.sealing;
    }
    this.sealing = undefined;
    this._changed.emit();
    try {
      const plan = await this._client.planMessage({ versions: [file.versionId], recipients }, signal);
      if (signal.aborted) return undefined;
      this.sealing = sealingOf(recipients, plan);
    } catch (error) {
      if (signal.aborted) return undefined;
      this._fail('recipients', messageOf(error, this._trans));
    }
    this._changed.emit();
    return this.sealing;
  }

  private _fieldOf(error: unknown): Field {
    const { code = '', path, message = '' } = error instanceof ClientError ? error : ({} as Partial<ClientError>);
    if (this.whereto === 'workspace' && path !== undefined && path === archivePath(this.place)) return 'place';
    if (code.startsWith('VERSION_') || code === 'PATH_INVALID') return 'files';
    if (code === 'BAD_REQUEST' && /\bage\b|age1/.test(message)) return 'recipients';
    if (this.whereto === 'workspace' && /^(PATH|DISK)_/.test(code)) return 'place';
    if (this.whereto === 'mailbox' && code !== 'UNREACHABLE') return 'mailbox';
    return 'whole';
  }

  private _fail(field: Field, text: string): void {
    this.problem = { field, text };
    this._changed.emit();
  }

  private readonly _client: SyftClient;
  private readonly _trans: TranslationBundle;
  private readonly _recording: () => boolean;
  private readonly _paths: string[];
  private readonly _versions: string[];
  private readonly _changed = new Signal<this, void>(this);
  private _asking = new AbortController();
  private _sealed: Promise<Sealing | undefined> = Promise.resolve(undefined);
  private _sending: AbortController | undefined;
}

export namespace ShareForm {
  export interface IOptions {
    client: SyftClient;
    given: Given;
    /** Whether what is on disk is recorded, so that it can be waited for. */
    recording: () => boolean;
    trans: TranslationBundle;
  }
}
