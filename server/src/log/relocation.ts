/** Where the frames of a segment went when it was rewritten without some of its chunks: for whoever is in the middle of reading it. */

export class Relocation {
  /** Where frames began and ended, in rising order, and where they do now. */
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  /** A frame, or what stands between two that cannot be read, in the order of the segment. */
  add(from: number, fromEnd: number, to: number, toEnd: number): void {
    if (this.#from.at(-1) !== from) {
      this.#from.push(from);
      this.#to.push(to);
    }
    this.#from.push(fromEnd);
    this.#to.push(toEnd);
  }

  /** The offset that has come in place of one at which a frame began or ended. */
  of(offset: number): number {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#from[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    // Inside of a frame nobody stands; behind the last one there is only its end.
    return this.#to[low] ?? this.#to.at(-1) ?? offset;
  }
}

/** An offset in a segment as it is now. `generation`: how many of its relocations the offset knows; absent: all. */
export function presentOffset(
  segment: { readonly relocations: readonly Relocation[] },
  offset: number,
  generation: number | undefined
): number {
  let present = offset;
  for (const relocation of segment.relocations.slice(generation ?? segment.relocations.length)) {
    present = relocation.of(present);
  }
  return present;
}
