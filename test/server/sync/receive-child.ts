/** A receiver in a process of its own, for tests that kill it: `node receive-child.ts LOG OUT`. */
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';

const [logPath = '', outputPath = ''] = process.argv.slice(2);
const receiver = new SyftLogReceiver({ logPath, outputPath });
receiver.on('problem', problem => process.stdout.write(`problem ${problem.message}\n`));
receiver.once('applied', () => process.stdout.write('applying\n'));
process.stdout.write('starting\n');
const report = await receiver.runOnce({ force: true });
process.stdout.write(`done ${JSON.stringify(report)}\n`);
await receiver.stop();
