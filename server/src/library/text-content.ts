/** Tells text from binary, for people: previews, `diff` and the explorer. */

const strict = new TextDecoder('utf-8', { fatal: true });

/** The text of UTF-8 content (a BOM is dropped), or `undefined` when it is binary: invalid UTF-8, or a NUL in it. */
export function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.subarray(0, 8192).includes(0)) return undefined;
  try {
    const text = strict.decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
