/** swc for Jest; and a worker that a source refers to is the one of the bundle, as for users: it starts in a third of the time. */
import { basename, dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import swcJest from '@swc/jest';

import { WORKER } from '../server/build.mjs';

const bundle = fileURLToPath(new URL('../server/dist/bundle/', import.meta.url));

function bundledWorkers(text, file) {
  return text.replace(WORKER, (_, quote, path) => {
    const worker = `${relative(dirname(file), bundle)}/${basename(path)}.mjs`;
    return `new URL(${quote}${worker}${quote}, import.meta.url)`;
  });
}

export default {
  createTransformer(options) {
    const swc = swcJest.createTransformer(options);
    return {
      ...swc,
      process: (text, file, context) => swc.process(bundledWorkers(text, file), file, context),
      processAsync: (text, file, context) => swc.processAsync(bundledWorkers(text, file), file, context),
      getCacheKey: (text, file, ...context) => swc.getCacheKey(bundledWorkers(text, file), file, ...context)
    };
  }
};
