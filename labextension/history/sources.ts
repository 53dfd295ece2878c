/** The questions that the panel's lists ask. */
import type { ChangeRow, ChangesPage, History } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import type { ChangeSource } from './changes-model';
import { placed } from './place';

/** All changes of the workspace whose path contains `filter`. */
export function workspaceSource(client: SyftClient, filter: string): ChangeSource {
  const part = filter.toLowerCase();
  return {
    load: (page, signal) => client.changes({ ...page, ...(part !== '' && { q: filter }) }, signal),
    takes: row => part === '' || row.path.toLowerCase().includes(part) || (row.from ?? '').toLowerCase().includes(part)
  };
}

/** The versions of one file, those from before it was moved included. */
export function fileSource(client: SyftClient, path: string): ChangeSource {
  return {
    load: async (page, signal): Promise<History> => {
      const history = await client.history(path, page, signal);
      return { ...history, changes: placed(history) };
    },
    takes: row => {
      // A file that came from elsewhere brings its history along; one that left takes it away.
      if (row.kind === 'moved' && (row.path === path || row.from === path)) return 'reload';
      return row.path === path;
    }
  };
}

/** Whatever happened in a folder and below. */
export function folderSource(client: SyftClient, folder: string): ChangeSource {
  const inside = (path: string | undefined): boolean =>
    path !== undefined && (folder === '' || path === folder || path.startsWith(`${folder}/`));
  return {
    load: (page, signal) => client.changes({ ...page, ...(folder !== '' && { under: folder }) }, signal),
    takes: row => inside(row.path) || inside(row.from)
  };
}

/** The most that is asked for at once. */
const DELETED_LIMIT = 5000;

/** Files that are gone, each by its deletion, which knows the last version that has content. */
export function deletedSource(client: SyftClient, filter: string): ChangeSource {
  return {
    load: async (_page, signal): Promise<ChangesPage> => {
      const query = { limit: DELETED_LIMIT, ...(filter !== '' && { q: filter }) };
      const { files } = await client.deleted(query, signal);
      const changes: ChangeRow[] = files.map(({ path, deleted, last }) => ({
        ...deleted,
        path,
        kind: 'deleted',
        type: last.type,
        flags: last.flags,
        previousVersionId: last.versionId,
        ...(last.size !== undefined && { previousSize: last.size })
      }));
      return { changes, total: changes.length };
    },
    takes: row => (row.kind === 'modified' ? false : 'reload')
  };
}
