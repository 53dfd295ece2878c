/** What a message may cost whoever opens it. */

export interface MessageLimits {
  /** Members of the archive, directories included. */
  readonly members: number;
  /** Bytes of one member, unpacked. */
  readonly memberBytes: number;
  /** Bytes of the whole, unpacked. */
  readonly totalBytes: number;
  /** Unpacked ÷ packed, once {@link ratioFrom} bytes were unpacked. */
  readonly ratio: number;
  readonly ratioFrom: number;
  /** Bytes of each member that is held in memory: descriptions, manifest, events. */
  readonly textBytes: number;
  /** Arrays and objects in one another, in a description. */
  readonly nesting: number;
}

export const MESSAGE_LIMITS: MessageLimits = {
  members: 20_000,
  memberBytes: 4 * 2 ** 30,
  totalBytes: 8 * 2 ** 30,
  ratio: 500,
  ratioFrom: 64 * 2 ** 20,
  textBytes: 64 * 2 ** 20,
  nesting: 64
};
