/** A thread that looks at directories beside the main thread (`look.ts`): begins when it is told to, and ends when none is left. */
import { parentPort, workerData } from 'node:worker_threads';
import { Looker, type SharedLook } from './look.ts';

const port = parentPort;
if (port === null) throw new Error('this file is a worker');
const looker = new Looker(workerData as SharedLook);

port.once('message', () => {
  while (looker.lookAtLarge());
  while (looker.lookAtSome());
  port.postMessage('done');
});
