/**
 * For file systems that do not tell of every change, such as those that other machines write to: whoever uses this source
 * scans as often as a scan is cheap. Another source may lend its hints, for what this machine changes itself.
 */
import type { HintSink, HintSource, HintSourceOptions } from '../hints.ts';

export class PollingHints implements HintSource {
  readonly kind = 'polling';
  readonly polls = true;
  readonly #detail: string;
  readonly #helper: HintSource | undefined;

  /**
   * @param why Why there is no better way; shown in the status.
   * @param helper Its hints are passed on; what it says of its own health is not.
   */
  constructor(why = '', helper?: HintSource) {
    this.#detail = `changes are found by scanning${why === '' ? '' : `: ${why}`}`;
    this.#helper = helper;
  }

  async start(options: HintSourceOptions, sink: HintSink): Promise<void> {
    sink.health(true, this.#detail);
    await this.#helper?.start(options, {
      paths: paths => {
        sink.paths(paths);
      },
      directories: dirs => {
        sink.directories(dirs);
      },
      lost: reason => {
        sink.lost(reason);
      },
      health: () => undefined
    });
  }

  async rulesChanged(): Promise<void> {
    await this.#helper?.rulesChanged();
  }

  async stop(): Promise<void> {
    await this.#helper?.stop();
  }
}
