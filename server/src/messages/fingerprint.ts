/**
 * A key in words that can be read to one another over a telephone. The words are proquints (D. S. Wilkerson, "A Proposal for Proquints",
 * arXiv:0901.4016): five letters for 16 bits, consonants and vowels in turn, so that they can be spoken and need no list.
 */
import { createHash } from 'node:crypto';

const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aiou';
/** 80 bits: nobody finds a second key with the words of a first. */
const WORDS = 5;

function word(bits: number): string {
  const c = (shift: number): string => CONSONANTS[(bits >> shift) & 15] as string;
  const v = (shift: number): string => VOWELS[(bits >> shift) & 3] as string;
  return c(12) + v(10) + c(6) + v(4) + c(0);
}

/**
 * The words of a key.
 *
 * @param publicKey Ed25519, 32 bytes.
 */
export function fingerprint(publicKey: Uint8Array): string {
  const digest = createHash('sha256').update('syft-sync fingerprint\n').update(publicKey).digest();
  return Array.from({ length: WORDS }, (_, i) => word(digest.readUInt16BE(2 * i))).join('-');
}
