/**
 * A source that is started before there is a recorder. Its thread gets up while the log is opened; what it tells until the
 * recorder takes over is not needed, for the first scan comes after that.
 */
import type { PathName } from '../../core/path-name.ts';
import type { HintSink, HintSource, HintSourceOptions } from '../hints.ts';

export class HintsAhead implements HintSource {
  readonly kind: string;
  readonly polls: boolean;
  readonly #source: HintSource;
  readonly #sink: HintSink;
  #to: HintSink | undefined;
  /** What it said of itself last. */
  #health: readonly [boolean, string] | undefined;
  #starting: Promise<void> | undefined;

  /** Starts `source`. That it could not is told by {@link start}. */
  constructor(source: HintSource, options: HintSourceOptions) {
    this.kind = source.kind;
    this.polls = source.polls === true;
    this.#source = source;
    this.#sink = {
      paths: (paths: readonly PathName[]) => this.#to?.paths(paths),
      directories: (dirs: readonly PathName[]) => this.#to?.directories(dirs),
      lost: reason => this.#to?.lost(reason),
      health: (healthy, detail) => {
        this.#health = [healthy, detail];
        this.#to?.health(healthy, detail);
      }
    };
    this.#starting = source.start(options, this.#sink);
    this.#starting.catch(() => undefined);
  }

  /** Hands over to a recorder; resolves as the source's own start does. */
  async start(options: HintSourceOptions, sink: HintSink): Promise<void> {
    this.#to = sink;
    if (this.#health !== undefined) sink.health(...this.#health);
    const starting = this.#starting ?? this.#source.start(options, this.#sink);
    this.#starting = undefined;
    await starting;
  }

  rulesChanged(): Promise<void> {
    return this.#source.rulesChanged();
  }

  stop(): Promise<void> {
    return this.#source.stop();
  }
}
