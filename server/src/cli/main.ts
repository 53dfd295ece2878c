/** Entry of the command line. */
import packageJson from '../../package.json' with { type: 'json' };

process.stdout.write(`${packageJson.version}\n`);
