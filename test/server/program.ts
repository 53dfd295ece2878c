/** The programs that tests start as processes of their own. */
import { fileURLToPath } from 'node:url';

/** A `NAME.ts` of these folders that ends in `-child`, bundled by `test/bundle.mjs`: started by the hundred, it is compiled once. */
export function program(name: `${string}-child`): string {
  return fileURLToPath(new URL(`../../.cache/children/${name}.mjs`, import.meta.url));
}

/** Where Node keeps what it compiled, for NODE_COMPILE_CACHE. */
export const COMPILED = fileURLToPath(new URL('../../.cache/compiled', import.meta.url));
