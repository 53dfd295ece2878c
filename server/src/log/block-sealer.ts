/** Seals blocks for frames that were written by others. */
import { SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { SealingSession } from '../crypto/seal.ts';
import { BLOCK_HEADER, decodeBlockHeader } from './layout.ts';
import { openTable, sealBlock, type FrameSlot, type PlainBlock } from './sealed-frame.ts';

/** What was sealed once is sealed anew in sessions of its own: how far those of the writers had counted nobody knows. */
export class BlockSealer {
  /** By epoch. */
  readonly #sessions = new Map<number, SealingSession>();

  /**
   * Seals a block, and sees to it that it opens again: it replaces the only copy.
   *
   * @param epoch Of its segment.
   * @param fromFrame Bytes from the beginning of its frame to where it will stand.
   * @throws SyftError INTERNAL when it does not open.
   */
  seal(
    keys: LogKeys,
    epoch: number,
    slot: FrameSlot,
    block: PlainBlock,
    fromFrame: number
  ): { readonly head: Buffer; readonly stored: Buffer } {
    let session = this.#sessions.get(epoch);
    if (session === undefined) this.#sessions.set(epoch, (session = new SealingSession(keys, epoch)));
    const sealed = sealBlock(session, slot, block, fromFrame, true);
    const header = decodeBlockHeader(sealed.head);
    const opened = header && openTable(keys, epoch, session.id, slot, header, sealed.head.subarray(BLOCK_HEADER));
    if (opened?.unseal(sealed.stored)?.equals(block.stored) !== true) {
      throw new SyftError('INTERNAL', 'A block could not be encrypted anew; nothing was changed.');
    }
    return sealed;
  }
}
