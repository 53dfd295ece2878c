/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { EventStreamParser, readEvents } from '../../../labextension/client/event-stream';
import type { ServerEvent } from '../../../labextension/client/event-stream';

function parse(pieces: readonly string[]): ServerEvent[] {
  const parser = new EventStreamParser();
  return pieces.flatMap(piece => parser.push(piece));
}

function stream(pieces: readonly Uint8Array[], end = true): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      if (end) controller.close();
    }
  });
}

describe('the event stream', () => {
  test('gives the same events however the network cuts it', () => {
    const line = fc.stringMatching(/^[^\r\n]{0,12}$/);
    const event = fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), data: fc.array(line, { minLength: 1 }) });
    const ends = fc.constantFrom('\n', '\r\n', '\r');
    fc.assert(
      fc.property(fc.array(event), ends, fc.array(fc.nat(400)), (events, end, cuts) => {
        const text = events
          .map(({ name, data }, id) =>
            [`event: ${name}`, `id: ${id}`, ': alive', ...data.map(value => `data: ${value}`), '', ''].join(end)
          )
          .join('');
        const at = [0, ...cuts.filter(cut => cut < text.length), text.length].sort((a, b) => a - b);
        const pieces = at.slice(1).map((to, index) => text.slice(at[index], to));
        // The last line end may be half of a CR LF: only what follows tells.
        const got = parse([...pieces, ': more\n']);
        expect(got).toEqual(events.map(({ name, data }, id) => ({ name, data: data.join('\n'), id: String(id) })));
      })
    );
  });

  test('comments and events without data are none; the last id stays', () => {
    expect(parse([': hello\n\n', 'event: status\n\n', 'id: d.7\ndata: a\n\n', 'data:b\n\n', 'data\n\n'])).toEqual([
      { name: 'message', data: 'a', id: 'd.7' },
      { name: 'message', data: 'b', id: 'd.7' },
      { name: 'message', data: '', id: 'd.7' }
    ]);
  });

  test('a name with letters of several bytes survives a cut in the middle of one', async () => {
    const bytes = new TextEncoder().encode('data: Größe – 数据 🚲.csv\n\n');
    const got: string[] = [];
    for await (const { data } of readEvents(stream(Array.from(bytes, byte => Uint8Array.of(byte))), 60_000)) {
      got.push(data);
    }
    expect(got).toEqual(['Größe – 数据 🚲.csv']);
  });

  test('a stream that falls silent ends with an error instead of being believed to be alive', async () => {
    const reading = readEvents(stream([new TextEncoder().encode('data: x\n\n')], false), 50);
    expect(await reading.next()).toMatchObject({ value: { data: 'x' } });
    await expect(reading.next()).rejects.toThrow('silent');
  });
});
