/** Where queries are kept beyond a tab: those that were saved in the user's settings, the recent ones with the workspace. */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { IStateDB } from '@jupyterlab/statedb';

import { recentOf, remembered } from './recent-queries';

export interface SavedQuery {
  readonly name: string;
  readonly query: string;
}

const RECENT = 'syft-sync-jupyterlab:recent-queries';

export class QueryStore {
  constructor(options: QueryStore.IOptions) {
    this._options = options;
  }

  get saved(): readonly SavedQuery[] {
    return (this._options.settings()?.get('savedQueries').composite as SavedQuery[] | undefined) ?? [];
  }

  /** Keeps a query under a name; one of that name is replaced. */
  async save(name: string, query: string): Promise<void> {
    await this._write([...this.saved.filter(other => other.name !== name), { name, query }]);
  }

  async remove(name: string): Promise<void> {
    await this._write(this.saved.filter(other => other.name !== name));
  }

  async recent(): Promise<readonly string[]> {
    return recentOf(await this._options.state?.fetch(RECENT));
  }

  async remember(query: string): Promise<void> {
    const queries = remembered(await this.recent(), query);
    await this._options.state?.save(RECENT, [...queries]);
  }

  private async _write(queries: readonly SavedQuery[]): Promise<void> {
    const settings = this._options.settings();
    if (settings === undefined) throw new Error('This JupyterLab keeps no settings.');
    await settings.set(
      'savedQueries',
      queries.map(({ name, query }) => ({ name, query }))
    );
  }

  private readonly _options: QueryStore.IOptions;
}

export namespace QueryStore {
  export interface IOptions {
    /** Undefined until they are loaded. */
    settings(): ISettingRegistry.ISettings | undefined;
    state: IStateDB | null;
  }
}
