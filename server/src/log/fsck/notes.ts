/** Signed notes and what stands in them: checkpoints of a stream, and what a device saw of others. */
import { createPublicKey, verify } from 'node:crypto';
import { sha256 } from './bytes.ts';
import type { SignedTree } from './tree.ts';

const DER = '302a300506032b6570032100';

/** The lines that this key has signed under this name; `undefined` when it has not, or the note is not one. */
function signedLines(note: Buffer, name: string, publicKey: Buffer): string[] | undefined {
  const text = note.toString();
  const split = text.lastIndexOf('\n\n');
  if (!Buffer.from(text).equals(note) || split < 0 || !text.endsWith('\n')) return undefined;
  const body = text.slice(0, split + 1);
  const id = sha256(Buffer.from(`${name}\n\u0001`), publicKey).toString('hex', 0, 4);
  let good = 0;
  for (const line of text.slice(split + 2, -1).split('\n')) {
    const parts = line.split(' ');
    const raw = Buffer.from(parts[2] ?? '', 'base64');
    if (parts.length !== 3 || parts[0] !== '\u2014' || raw.length < 5 || raw.toString('base64') !== parts[2]) {
      return undefined;
    }
    if (parts[1] !== name || raw.toString('hex', 0, 4) !== id) continue;
    const key = createPublicKey({
      key: Buffer.from(DER + publicKey.toString('hex'), 'hex'),
      format: 'der',
      type: 'spki'
    });
    if (!verify(null, Buffer.from(body), key, raw.subarray(4))) return undefined;
    good += 1;
  }
  const lines = body.split('\n');
  return good > 0 && lines.pop() === '' && lines.shift() === name ? lines : undefined;
}

function sizeAndRoot(size: string | undefined, root: string | undefined): SignedTree | undefined {
  const bytes = Buffer.from(root ?? '', 'base64');
  return /^(0|[1-9]\d*)$/.test(size ?? '') && bytes.length === 32 && bytes.toString('base64') === root
    ? { size: Number(size), root: bytes }
    : undefined;
}

export function checkpointIn(
  note: Buffer,
  workspace: string,
  device: string,
  publicKey: Buffer
): SignedTree | undefined {
  const lines = signedLines(note, `syft-sync/${workspace}/${device}`, publicKey);
  return lines?.length === 2 ? sizeAndRoot(lines[0], lines[1]) : undefined;
}

export function seenIn(
  note: Buffer,
  workspace: string,
  device: string,
  publicKey: Buffer
): (SignedTree & { readonly device: string })[] | undefined {
  const lines = signedLines(note, `syft-sync/${workspace}/${device}/seen`, publicKey);
  const seen = lines?.map(line => {
    const [other = '', size, root, ...rest] = line.split(' ');
    const tree = sizeAndRoot(size, root);
    return tree === undefined || rest.length > 0 ? undefined : { device: other, ...tree };
  });
  return seen?.every(stream => stream !== undefined) === true ? seen : undefined;
}
