/**
 * Numbers for contents, while an index is built from nothing: an open-addressed table over the hashes themselves, outside the
 * heap. A Map of ten million texts would take gigabytes.
 */
import { randomBytes } from 'node:crypto';

/** 32-bit words of a SHA-256. */
export const HASH_WORDS = 8;
const HASH_DIGITS = 64;
const WORD_DIGITS = 8;
/** Hashes in one piece of memory. */
const PIECE = 65_536;
/** Slots in use at most, of all. */
const LOAD = 0.6;

const DIGITS = new Uint8Array(128).fill(255);
for (let digit = 0; digit < 16; digit++) {
  const text = digit.toString(16);
  DIGITS[text.charCodeAt(0)] = digit;
  DIGITS[text.toUpperCase().charCodeAt(0)] = digit;
}

/**
 * Reads a hash into words, the first digits first.
 *
 * @throws TypeError when it is not 64 hex digits.
 */
export function hashWords(hash: string, words: Uint32Array): void {
  let seen = hash.length === HASH_DIGITS ? 0 : 255;
  for (let word = 0, at = 0; word < HASH_WORDS && seen < 16; word++) {
    let value = 0;
    for (const end = at + WORD_DIGITS; at < end; at++) {
      const digit = DIGITS[hash.charCodeAt(at)] ?? 255;
      seen |= digit;
      value = (value << 4) | digit;
    }
    words[word] = value;
  }
  if (seen > 15) throw new TypeError('The hash of a content is 64 hex digits.');
}

/** See the file's first lines. Numbers count from 1 without gaps. */
export class ContentNumbers {
  readonly #pieces: Uint32Array[] = [];
  #slots = new Int32Array(4096);
  #count = 0;
  readonly #seed = randomBytes(8).readBigUInt64LE();
  readonly #seedLow = Number(this.#seed & 0xffff_ffffn) | 0;
  readonly #seedHigh = Number(this.#seed >> 32n) | 0;

  get count(): number {
    return this.#count;
  }

  /** What it takes, bytes. */
  get bytes(): number {
    return this.#pieces.length * PIECE * HASH_WORDS * 4 + this.#slots.byteLength;
  }

  /** The number of a hash; a new one where it was not seen before, one above {@link count}. */
  numberOf(words: Uint32Array): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#slotOf(words, 0, mask); ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot] as number;
      if (number === 0) return this.#add(words, slot);
      if (this.#is(number, words)) return number;
    }
  }

  #add(words: Uint32Array, slot: number): number {
    const place = this.#count % PIECE;
    if (place === 0) this.#pieces.push(new Uint32Array(PIECE * HASH_WORDS));
    (this.#pieces.at(-1) as Uint32Array).set(words, place * HASH_WORDS);
    this.#count += 1;
    this.#slots[slot] = this.#count;
    if (this.#count > this.#slots.length * LOAD) this.#grow();
    return this.#count;
  }

  #is(number: number, words: Uint32Array): boolean {
    const piece = this.#pieces[Math.trunc((number - 1) / PIECE)] as Uint32Array;
    const at = ((number - 1) % PIECE) * HASH_WORDS;
    for (let i = 0; i < HASH_WORDS; i++) if (piece[at + i] !== words[i]) return false;
    return true;
  }

  /** Seeded: whoever makes files must not be able to make them meet in one place. */
  #slotOf(words: Uint32Array, at: number, mask: number): number {
    const mixed =
      Math.imul((words[at] as number) ^ this.#seedLow, 0x9e3779b1) ^
      Math.imul((words[at + 3] as number) ^ this.#seedHigh, 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & mask;
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let number = 1; number <= this.#count; number++) {
      const piece = this.#pieces[Math.trunc((number - 1) / PIECE)] as Uint32Array;
      let slot = this.#slotOf(piece, ((number - 1) % PIECE) * HASH_WORDS, mask);
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number;
    }
    this.#slots = slots;
  }
}
