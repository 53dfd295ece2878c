/** Reads a piece of an open file. */
import { readSync } from 'node:fs';

/** Reads up to `length` bytes; short at the end of the file. */
export function readUpTo(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const n = readSync(fd, buffer, done, length - done, position + done);
    if (n === 0) break;
    done += n;
  }
  return buffer.subarray(0, done);
}
