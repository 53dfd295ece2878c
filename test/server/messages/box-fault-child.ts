/**
 * A message box in a process of its own, whose file operations are counted: `node box-fault-child.ts LOG ARCHIVE snapshot DIR` copies what
 * is on disk before each of them, which is what a kill at that moment leaves; `… fail CODE N` makes the N-th fail. Prints a line of JSON.
 */
import fs from 'node:fs';
import fsp, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { MessageBox } from '../../../server/src/messages/box.ts';

const [logDir = '', archive = '', mode = '', what = '', nth = ''] = process.argv.slice(2);
const bytes = fs.readFileSync(archive);
const { cpSync, mkdirSync } = fs;
const probe = await fsp.open(archive, 'r');
const handles = Object.getPrototypeOf(probe) as FileHandle;
await probe.close();

let steps = 0;
let counting = false;
function step(): void {
  if (!counting) return;
  steps += 1;
  if (mode === 'snapshot') {
    mkdirSync(what, { recursive: true });
    cpSync(join(logDir, 'messages'), join(what, String(steps), 'messages'), { recursive: true });
  } else if (steps === Number(nth)) {
    throw Object.assign(new Error(`${what}: injected`), { code: what, syscall: 'write' });
  }
}

function counted<T extends object>(object: T, names: readonly (keyof T & string)[]): void {
  for (const name of names) {
    const own = object[name] as (...args: unknown[]) => unknown;
    const replacement = function (this: unknown, ...args: unknown[]): unknown {
      step();
      return own.apply(this, args);
    };
    Object.defineProperty(object, name, { value: replacement, configurable: true, writable: true });
  }
}
counted(fs, ['mkdirSync', 'fsyncSync']);
counted(fsp, ['mkdir', 'rename', 'open']);
counted(handles, ['write', 'sync']);
syncBuiltinESMExports();

const box = new MessageBox({ logDir, program: 'test' });
mkdirSync(join(logDir, 'messages'), { recursive: true });
counting = true;
async function* pieces(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 400) yield bytes.subarray(at, at + 400);
}
let outcome: string;
try {
  const { entry } = await box.receive(pieces(), 'upload');
  outcome = entry.id;
} catch (error) {
  outcome = (error as { code: string }).code;
}
counting = false;
process.stdout.write(`${JSON.stringify({ steps, outcome, listed: (await box.list()).map(({ id }) => id) })}\n`);
