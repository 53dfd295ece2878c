/**
 * A checksum over the changes an index has applied, in order. The log's first so many changes must give the same one, or
 * the index is of another past: rolled back, rewritten, or with a change that came in between later.
 */
import type { Change } from '../core/change.ts';

const HIGH = 2 ** 32;

/** Two lanes of 32 bits; guards against accidents, not against an adversary. */
export class Fingerprint {
  /** In an array, because a field that holds more than 31 bits is a new object at each step. */
  readonly #lanes: Int32Array;

  constructor(a = 0x811c9dc5, b = 0x9e3779b9) {
    this.#lanes = Int32Array.of(a, b);
  }

  /** Inverse of {@link text}; a text that is none gives a fingerprint that matches no log. */
  static parse(text: string): Fingerprint {
    return new Fingerprint(parseInt(text.slice(0, 8), 16) >>> 0, parseInt(text.slice(8, 16), 16) >>> 0);
  }

  copy(): Fingerprint {
    return new Fingerprint(...this.#lanes);
  }

  add(change: Change): void {
    this.#text(change.device);
    this.#number(change.seq);
    this.#number(change.hlc);
    this.#number(change.at);
    this.#number(change.size ?? -1);
    this.#text(change.path);
  }

  #text(text: string): void {
    const lanes = this.#lanes;
    let a = lanes[0] as number;
    let b = lanes[1] as number;
    for (let i = 0; i < text.length; i++) {
      const value = text.charCodeAt(i);
      a = Math.imul(a ^ value, 0x01000193);
      b = Math.imul(b + value, 0x85ebca6b);
      b ^= b >>> 15;
    }
    lanes[0] = a;
    lanes[1] = b;
  }

  #number(value: number): void {
    this.#mix((value % HIGH) | 0);
    this.#mix(Math.floor(value / HIGH) | 0);
  }

  #mix(value: number): void {
    const lanes = this.#lanes;
    lanes[0] = Math.imul((lanes[0] as number) ^ value, 0x01000193);
    const b = Math.imul((lanes[1] as number) + value, 0x85ebca6b);
    lanes[1] = b ^ (b >>> 15);
  }

  /** 16 hex digits. */
  get text(): string {
    return [...this.#lanes].map(lane => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }
}
