/** A thread that stages files and gives them their names. */
import { parentPort } from 'node:worker_threads';
import { stageFiles, type LinkJob, type StageJob } from './stage-files.ts';

const port = parentPort;
if (port === null) throw new Error('this file is a worker');

port.on('message', (job: StageJob | LinkJob) => {
  port.postMessage(stageFiles(job));
});
