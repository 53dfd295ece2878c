import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { openSealed, SEAL_OVERHEAD, SealingSession } from '../../../server/src/crypto/seal.ts';
import { openSealedFile, sealFile } from '../../../server/src/crypto/sealed-file.ts';

const WORKSPACE = '00112233445566778899aabbccddeeff';
const masters = new Map([
  [1, Buffer.alloc(32, 1)],
  [2, Buffer.alloc(32, 2)]
]);
const keys = new LogKeys(WORKSPACE, masters);
const place = Buffer.from('frame 7');

test('what was sealed opens where it belongs, and nowhere else', () => {
  const session = new SealingSession(keys);
  const origin = { epoch: session.epoch, session: session.id };
  for (const length of [0, 1, 15, 16, 17, 300_000]) {
    const plain = randomBytes(length);
    const sealed = session.seal('block', place, plain);
    expect(sealed.length).toBe(length + SEAL_OVERHEAD);
    expect(openSealed(keys, origin, 'block', place, sealed)).toEqual(plain);
    expect(openSealed(keys, origin, 'block', Buffer.from('frame 8'), sealed)).toBeUndefined();
    expect(openSealed(keys, origin, 'block-table', place, sealed)).toBeUndefined();
    expect(openSealed(keys, { ...origin, epoch: 1 }, 'block', place, sealed)).toBeUndefined();
    expect(openSealed(keys, { ...origin, epoch: 3 }, 'block', place, sealed)).toBeUndefined();
    expect(openSealed(keys, { ...origin, session: randomBytes(16) }, 'block', place, sealed)).toBeUndefined();
    expect(openSealed(new LogKeys('ff'.repeat(16), masters), origin, 'block', place, sealed)).toBeUndefined();
  }
});

test('no byte of it can change', () => {
  const session = new SealingSession(keys);
  const origin = { epoch: session.epoch, session: session.id };
  const sealed = session.seal('records', place, Buffer.from('what a user wrote'));
  for (let at = 0; at < sealed.length; at += 1) {
    const flipped = Buffer.from(sealed);
    flipped[at] = (flipped[at] as number) ^ 0x80;
    expect(openSealed(keys, origin, 'records', place, flipped)).toBeUndefined();
  }
  for (let length = 0; length < sealed.length; length += 1) {
    expect(openSealed(keys, origin, 'records', place, sealed.subarray(0, length))).toBeUndefined();
  }
});

test('no nonce is used twice: not by one session, not by two', () => {
  const seen = new Set<string>();
  for (let opening = 0; opening < 50; opening += 1) {
    const session = new SealingSession(keys);
    for (let part = 0; part < 40; part += 1) {
      // The same bytes at the same place, as when a write failed and is tried again.
      const sealed = session.seal('records', place, Buffer.from('again'));
      seen.add(`${session.id.toString('hex')} ${sealed.toString('hex', 0, 8)}`);
    }
  }
  expect(seen.size).toBe(50 * 40);
});

test('the keys for different ends differ, and so do those of different logs', () => {
  const other = new LogKeys('ff'.repeat(16), masters);
  const session = Buffer.alloc(16);
  const all = [keys, other].flatMap(log => [
    ...[1, 2].flatMap(epoch => [
      ...(['records', 'block-table', 'block', 'file'] as const).map(purpose => log.session(epoch, session, purpose))
    ]),
    log.chunkId(Buffer.alloc(32)),
    Buffer.from(log.keyId, 'hex')
  ]);
  expect(new Set(all.map(key => key?.toString('hex'))).size).toBe(all.length);
});

test('keys are derived as the format says, for ever', () => {
  expect(keys.keyId).toBe('be9d7117c5a9aa2dfc97dd299e1e3cfe');
  expect(keys.session(2, Buffer.alloc(16, 3), 'block')?.toString('hex')).toBe(
    'cb3d9bf2c6dbc5ccce3231f39a748ec0d9453b19f77e9bf359d118440f08d6a9'
  );
  expect(keys.chunkId(createHash('sha256').update('abc').digest()).toString('hex')).toBe(
    '064b560f1542eab632be61158e4fddd101feeb08ac2c620062977334d5f8f360'
  );
});

test('a sealed file opens under its own name only', () => {
  const sealed = sealFile(keys, 'cache/scan', Buffer.from('notes/salary.md'));
  expect(sealed.includes('salary')).toBe(false);
  expect(openSealedFile(keys, 'cache/scan', sealed).toString()).toBe('notes/salary.md');
  const damaged = expect.objectContaining({ code: 'LOG_DAMAGED' });
  expect(() => openSealedFile(keys, 'cache/other', sealed)).toThrow(damaged);
  for (let at = 0; at < sealed.length; at += 1) {
    const flipped = Buffer.from(sealed);
    flipped[at] = (flipped[at] as number) ^ 1;
    expect(() => openSealedFile(keys, 'cache/scan', flipped)).toThrow(damaged);
  }
  for (const length of [0, 5, 28, 40, sealed.length - 1]) {
    expect(() => openSealedFile(keys, 'cache/scan', sealed.subarray(0, length))).toThrow(damaged);
  }
});
