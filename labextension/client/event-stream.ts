/**
 * A reader of `text/event-stream` (WHATWG HTML, section 9.2) over fetch: the browser's EventSource can send no headers, and
 * Jupyter's token is one.
 */

export interface ServerEvent {
  /** The field `event`, `message` when there is none. */
  name: string;
  data: string;
  /** The last `id` seen on this stream. */
  id: string | undefined;
}

/** Cuts text, as it comes, into events. Comments give nothing; an event without data is none. */
export class EventStreamParser {
  /** @returns the events that this piece completes. */
  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    this._rest += text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this._rest);
      if (end === null) return events;
      const line = this._rest.slice(0, end.index);
      this._rest = this._rest.slice(end.index + end[0].length);
      const event = this._line(line);
      if (event !== undefined) events.push(event);
    }
  }

  private _line(line: string): ServerEvent | undefined {
    if (line === '') {
      const event = { name: this._name || 'message', data: this._data.join('\n'), id: this._id };
      const complete = this._data.length > 0;
      this._name = '';
      this._data = [];
      return complete ? event : undefined;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this._data.push(value);
    else if (field === 'event') this._name = value;
    else if (field === 'id' && !value.includes('\0')) this._id = value;
    return undefined;
  }

  private _rest = '';
  private _name = '';
  private _data: string[] = [];
  private _id: string | undefined;
}

/**
 * Yields the events of a stream until it ends.
 *
 * @param silence - Milliseconds without a byte, comments included, after which the stream counts as dead.
 * @throws {Error} when the stream breaks or falls silent.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  silence: number
): AsyncGenerator<ServerEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventStreamParser();
  try {
    for (;;) {
      const { done, value } = await withinSilence(reader.read(), silence);
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function withinSilence<T>(reading: Promise<T>, silence: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silent = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('The event stream fell silent.')), silence);
  });
  try {
    return await Promise.race([reading, silent]);
  } finally {
    clearTimeout(timer);
  }
}
