/** A note that is taken for signed when it is not would let anybody speak for a device. */
import { expect, test } from '@jest/globals';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { openNote, signNote, verifierKey } from '../../../server/src/crypto/signed-note.ts';

/** The note, the name and the key with which Go's golang.org/x/mod/sumdb/note documents the form. */
const NAME = 'PeterNeumann';
const PUBLIC = Buffer.from('ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', 'base64').subarray(1);
const NOTE =
  'If you think cryptography is the answer to your problem,\n' +
  "then you don't know what your problem is.\n" +
  '\n' +
  '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const TEXT = NOTE.slice(0, NOTE.indexOf('\n\n') + 1);

test('the published note is read, and its key is written as it was published', () => {
  expect(openNote(NOTE, NAME, PUBLIC)).toBe(TEXT);
  expect(verifierKey(NAME, PUBLIC)).toBe('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
});

test('no byte of a note can change', () => {
  const bytes = Buffer.from(NOTE);
  const unnoticed: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 1; bit < 256; bit *= 2) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ bit;
      if (openNote(changed.toString(), NAME, PUBLIC) !== undefined) unnoticed.push(at);
    }
  }
  expect(unnoticed).toEqual([]);
  expect(openNote(NOTE.slice(0, -1), NAME, PUBLIC)).toBeUndefined();
  expect(openNote(`${NOTE}\n`, NAME, PUBLIC)).toBeUndefined();
  expect(openNote(TEXT, NAME, PUBLIC)).toBeUndefined();
  expect(openNote('', NAME, PUBLIC)).toBeUndefined();
});

test('signatures of others are passed over; a false one of the key itself is not', () => {
  const seed = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]);
  const privateKey = createPrivateKey({ key: seed, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(-32);
  const text = 'a\n\nb\n';
  const note = signNote(text, 'example.org/log', { privateKey, publicKey });
  expect(openNote(note, 'example.org/log', publicKey)).toBe(text);
  expect(openNote(note, 'example.org/other', publicKey)).toBeUndefined();
  expect(openNote(note, 'example.org/log', PUBLIC)).toBeUndefined();
  const witness = '\u2014 witness.example mJirIklj\n';
  expect(openNote(note + witness, 'example.org/log', publicKey)).toBe(text);
  const line = note.slice(note.lastIndexOf('\u2014'));
  const [, , base64 = ''] = line.split(' ');
  const bytes = Buffer.from(base64, 'base64');
  bytes[20] = bytes[20]! ^ 1;
  const forged = `\u2014 example.org/log ${bytes.toString('base64')}\n`;
  expect(openNote(note + forged, 'example.org/log', publicKey)).toBeUndefined();
});
