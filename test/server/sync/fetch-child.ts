/** Fetches a log once: `node fetch-child.ts BUCKET COPY`. Prints `done`, or `error` and what went wrong. */
import { errnoOf, SyftError } from '../../../server/src/core/errors.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { FetchedLog } from '../../../server/src/sync/fetch.ts';

const [bucket = '', copy = ''] = process.argv.slice(2);
const fetched = new FetchedLog(new FsStorage(bucket), copy);
try {
  await fetched.fetch();
  console.log('done');
} catch (error) {
  console.log(`error ${error instanceof SyftError ? error.code : (errnoOf(error) ?? String(error))}`);
} finally {
  try {
    fetched.close();
  } catch (error) {
    console.log(`error ${errnoOf(error) ?? String(error)}`);
  }
}
