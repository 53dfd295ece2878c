/** The public library of `syft-sync`. */
export { AppendOnlyLogWatcher, BaseWatcher, SyftAppendOnlyLogWatcher } from './library/watcher.ts';
export type {
  BaseWatcherOptions,
  RestoreVersionOptions,
  SyftMessageSummary,
  WatcherOptions
} from './library/watcher.ts';
export type { ExportedMessage, ExportOptions } from './library/export-message.ts';
export type { ImportOptions } from './library/import-message.ts';
export { verifyMessage } from './messages/inspect.ts';
export type { Fact, Sender, Verified } from './messages/inspect.ts';
export type { OpenArchiveOptions } from './messages/read-archive.ts';
export { contactLink, parseContactLink } from './messages/contact-link.ts';
export type { ContactCard } from './messages/contact-link.ts';
export { deliver, fetchMailbox, makeMailbox } from './messages/mailbox.ts';
export type {
  Delivered,
  DeliverOptions,
  Fetched,
  FetchOptions,
  Mail,
  MailboxLimits,
  TakeIn
} from './messages/mailbox.ts';
export { Contacts, wordsOf } from './messages/contacts.ts';
export type { AddOptions, Contact, Standing } from './messages/contacts.ts';
export { registerWatcher } from './capture/hints/registry.ts';
export type { WatcherChoice, WatcherFactory } from './capture/hints/registry.ts';
export type { HintSink, HintSource, HintSourceOptions } from './capture/hints.ts';
export type { EncryptionOptions } from './library/encryption.ts';
export { EventHandler } from './library/event-handler.ts';
export type { FileEvent } from './library/event-handler.ts';
export { LogStorage } from './library/log-storage.ts';
export type { LoggedFile } from './library/log-storage.ts';
export { LogExplorer } from './library/explorer.ts';
export type { ExplorerOptions } from './library/explorer.ts';
export { SyftLogReceiver } from './sync/receiver.ts';
export { FsStorage } from './storage/fs.ts';
export { MemoryStorage } from './storage/memory.ts';
export {
  bodySize,
  checkLimit,
  checkName,
  checkPrefix,
  checkRange,
  checkSignal,
  listAll,
  piecesOf
} from './storage/storage.ts';
export type {
  Body,
  Cancellable,
  ListOptions,
  ObjectInfo,
  ObjectRange,
  Page,
  PutOptions,
  ReadOptions,
  Storage
} from './storage/storage.ts';
export { SyftError } from './core/errors.ts';
export type { ErrorCode } from './core/errors.ts';
export type { Cause, ChangeFlag, ChangeJson, ChangeKind, EntryType } from './core/change.ts';
export type { RestoreResult, Stats, Status } from './api/contract.ts';
export { VERSION } from './library/version.ts';
