/**
 * A checksum over the changes an index has applied, in order. The log's first so many changes must give the same one, or
 * the index is of another past: rolled back, rewritten, or with a change that came in between later.
 */
import type { Change } from '../core/change.ts';

const HIGH = 2 ** 32;

/** Two lanes of 32 bits; guards against accidents, not against an adversary. */
export class Fingerprint {
  #a: number;
  #b: number;

  constructor(a = 0x811c9dc5, b = 0x9e3779b9) {
    this.#a = a;
    this.#b = b;
  }

  /** Inverse of {@link text}; a text that is none gives a fingerprint that matches no log. */
  static parse(text: string): Fingerprint {
    return new Fingerprint(parseInt(text.slice(0, 8), 16) >>> 0, parseInt(text.slice(8, 16), 16) >>> 0);
  }

  copy(): Fingerprint {
    return new Fingerprint(this.#a, this.#b);
  }

  add(change: Change): void {
    for (let i = 0; i < change.device.length; i++) this.#mix(change.device.charCodeAt(i));
    this.#number(change.seq);
    this.#number(change.hlc);
    this.#number(change.at);
    this.#number(change.size ?? -1);
    for (let i = 0; i < change.path.length; i++) this.#mix(change.path.charCodeAt(i));
  }

  #number(value: number): void {
    this.#mix((value % HIGH) | 0);
    this.#mix(Math.floor(value / HIGH) | 0);
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x01000193) >>> 0;
    this.#b = Math.imul(this.#b + value, 0x85ebca6b) >>> 0;
    this.#b = (this.#b ^ (this.#b >>> 15)) >>> 0;
  }

  /** 16 hex digits. */
  get text(): string {
    return this.#a.toString(16).padStart(8, '0') + this.#b.toString(16).padStart(8, '0');
  }
}
