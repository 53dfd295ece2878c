/** Adds contacts while other processes do: `contacts-child.ts DIRECTORY PREFIX COUNT`. */
import { generateKeyPairSync } from 'node:crypto';
import { Contacts } from '../../../server/src/messages/contacts.ts';

const [dir = '', prefix = '', count = '0'] = process.argv.slice(2);
const contacts = new Contacts(dir);
for (let i = 0; i < Number(count); i += 1) {
  const publicKey = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' }).subarray(12);
  await contacts.add({ name: `${prefix}${i}`, publicKey: publicKey.toString('base64') });
}
