/** Links as pictures: what was drawn is read back, and a picture that was made to harm is refused before it costs anything. */
import { deflateSync, crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { contactLink } from '../../../server/src/messages/contact-link.ts';
import { readPng } from '../../../server/src/messages/png.ts';
import { qrPng, qrSvg, qrText, readQr } from '../../../server/src/messages/qr.ts';
import { newKey } from './forge.ts';

const LINK = contactLink({ name: 'Ana & <Ben>', publicKey: newKey().publicKey.toString('base64') });
const refused = expect.objectContaining({ code: 'BAD_REQUEST' });

/** A PNG of these parts; each with its checksum. */
function png(...chunks: readonly (readonly [type: string, body: Buffer])[]): Buffer {
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    ...chunks.flatMap(([type, body]) => {
      const named = Buffer.concat([Buffer.from(type, 'latin1'), body]);
      const [size, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
      size.writeUInt32BE(body.length);
      sum.writeUInt32BE(crc32(named));
      return [size, named, sum];
    })
  ]);
}

function header(width: number, height: number, depth = 8, colourType = 0, interlace = 0): [string, Buffer] {
  const body = Buffer.alloc(13);
  body.writeUInt32BE(width, 0);
  body.writeUInt32BE(height, 4);
  body.set([depth, colourType, 0, 0, interlace], 8);
  return ['IHDR', body];
}

const END: [string, Buffer] = ['IEND', Buffer.alloc(0)];
const data = (raw: Buffer): [string, Buffer] => ['IDAT', deflateSync(raw)];

/** A PNG of these samples, without filters. */
function picture(width: number, height: number, samples: Uint8Array, channels: number, depth = 8): Buffer {
  const line = (width * channels * depth) / 8;
  const raw = Buffer.alloc((line + 1) * height);
  for (let y = 0; y < height; y += 1) raw.set(samples.subarray(y * line, (y + 1) * line), y * (line + 1) + 1);
  return png(header(width, height, depth, [0, 4, 2, 6][channels - 1] ?? 0), data(raw), END);
}

/** The picture that a rasteriser makes of half blocks or of the SVG: four pixels a module. */
function drawn(dark: (x: number, y: number) => boolean, size: number): Buffer {
  const width = size * 4;
  const samples = Uint8Array.from({ length: width * width }, (_, i) =>
    dark(Math.floor((i % width) / 4), Math.floor(i / width / 4)) ? 0 : 255
  );
  return picture(width, width, samples, 1);
}

describe('what is drawn is read back', () => {
  test('as PNG', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), fc.nat(120), (text, more) => {
        const name = `x${encodeURIComponent(text.toWellFormed())}${'y'.repeat(more)}`;
        const link = contactLink({ name, publicKey: newKey().publicKey.toString('base64') });
        expect(readQr(qrPng(link))).toBe(link);
      }),
      { numRuns: 15 }
    );
  });

  test('as SVG, which says what it is and runs nothing', () => {
    const svg = qrSvg(LINK, 'Ana & <Ben>: "a contact"\u0000');
    expect(svg).toContain('role="img"');
    expect(svg).toContain('<title>Ana &amp; &lt;Ben&gt;: &quot;a contact&quot;\ufffd</title>');
    expect([...svg.matchAll(/<([a-z]+)/g)].map(([, tag]) => tag)).toEqual(['svg', 'title', 'rect', 'path']);
    const size = Number(/viewBox="0 0 (\d+) \1"/.exec(svg)?.[1]);
    const dark = new Set<string>();
    for (const [, x, y, run] of svg.matchAll(/M(\d+) (\d+)h(\d+)v1h-\3z/g)) {
      for (let i = 0; i < Number(run); i += 1) dark.add(`${Number(x) + i} ${y}`);
    }
    expect(readQr(drawn((x, y) => dark.has(`${x} ${y}`), size))).toBe(LINK);
  });

  test('in a terminal', () => {
    const rows = qrText(LINK, true)
      .split('\n')
      .slice(0, -1)
      .map(row => row.replace(/\u001b\[[0-9;]*m/g, ''));
    const dark = (x: number, y: number): boolean =>
      (y % 2 === 0 ? '█▀' : '█▄').includes([...(rows[y >> 1] ?? '')][x] ?? '.');
    expect(readQr(drawn(dark, [...(rows[0] ?? '')].length))).toBe(LINK);
    expect(qrText(LINK, false)).not.toContain('\u001b');
  });
});

test('a link that is longer than a code holds is said', () => {
  const long = contactLink({ name: 'ä'.repeat(600), publicKey: newKey().publicKey.toString('base64') });
  for (const draw of [() => qrPng(long), () => qrSvg(long, ''), () => qrText(long, false)]) {
    expect(draw).toThrow(refused);
  }
});

/** The code of the link, a pixel a module, and larger. */
const CODE = readPng(qrPng(LINK));

describe('pictures of other programs', () => {
  const { width, height, luma } = CODE;
  const shade = (i: number): number => luma[i] ?? 0;
  const pixels = (of: (shade: number) => readonly number[]): Uint8Array =>
    Uint8Array.from([...luma].flatMap(value => of(value)));

  test.each([
    ['gray', 1, (v: number) => [v]],
    ['gray with what is transparent', 2, (v: number) => [0, 255 - v]],
    ['colours', 3, (v: number) => [v, v === 0 ? 60 : 255, v]],
    ['colours with what is transparent', 4, (v: number) => [20, 0, 60, 255 - v]]
  ])('%s', (_, channels, of) => {
    expect(readQr(picture(width, height, pixels(of), channels))).toBe(LINK);
  });

  test('sixteen bits', () => {
    // Of a sample the upper byte comes first.
    const samples = pixels(v => [v, 77]);
    expect(Buffer.compare(readPng(picture(width, height, samples, 1, 16)).luma, luma)).toBe(0);
  });

  test('a palette, in which a colour may be transparent', () => {
    const raw = Buffer.alloc((width + 1) * height);
    for (let i = 0; i < luma.length; i += 1) raw[Math.floor(i / width) + 1 + i] = shade(i) === 0 ? 1 : 2;
    const palette = Buffer.from([9, 9, 9, 0, 0, 40, 30, 0, 0]);
    const indexed = png(
      header(width, height, 8, 3),
      ['PLTE', palette],
      ['tRNS', Buffer.from([255, 255, 0])],
      data(raw),
      END
    );
    expect(readQr(indexed)).toBe(LINK);
  });

  test.each([1, 2, 3, 4])('filter %i, over three bytes a pixel', filter => {
    const lines = 64;
    const line = width * 3;
    const flat = Uint8Array.from(luma.subarray(0, width * lines)).reduce(
      (all, v, i) => all.fill(v, 3 * i, 3 * i + 3),
      new Uint8Array(line * lines)
    );
    const raw = Buffer.alloc((line + 1) * lines);
    for (let y = 0; y < lines; y += 1) {
      raw[y * (line + 1)] = filter;
      for (let x = 0; x < line; x += 1) {
        const at = (dx: number, dy: number): number => (x < dx || y < dy ? 0 : (flat[(y - dy) * line + x - dx] ?? 0));
        const [a, b, c] = [at(3, 0), at(0, 1), at(3, 1)];
        const p = a + b - c;
        const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
        const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        raw[y * (line + 1) + 1 + x] = at(0, 0) - ([0, a, b, Math.floor((a + b) / 2), paeth][filter] ?? 0);
      }
    }
    expect(
      Buffer.compare(readPng(png(header(width, lines, 8, 2), data(raw), END)).luma, luma.subarray(0, width * lines))
    ).toBe(0);
  });

  test('light on dark', () => {
    expect(
      readQr(
        picture(
          width,
          height,
          luma.map(v => 255 - v),
          1
        )
      )
    ).toBe(LINK);
  });
});

describe('pictures that were made to harm', () => {
  const line = Buffer.alloc(9);
  const hostile: Record<string, Uint8Array> = {
    nothing: Buffer.alloc(0),
    'another kind of file': Buffer.from('GIF89a, not a PNG'),
    'only the signature': png(),
    'no header first': png(data(line), END),
    'a short header': png(['IHDR', Buffer.alloc(5)], END),
    'no pixels': png(header(0, 8), data(line), END),
    'four thousand million lines': png(header(8, 0xffffffff), data(line), END),
    'more pixels than are read, in few bytes': png(header(4096, 4096), data(Buffer.alloc(4097 * 4096)), END),
    'sixteen bits of four colours, larger than is read': png(header(4096, 2048, 16, 6), data(line), END),
    'a bit depth that there is not': png(header(8, 1, 5), data(line), END),
    'a colour type that there is not': png(header(8, 1, 8, 5), data(line), END),
    interlaced: png(header(8, 1, 8, 0, 1), data(line), END),
    'a bomb behind a small header': png(header(8, 1), data(Buffer.alloc(64 * 2 ** 20)), END),
    'a bomb in the profile and no picture': png(header(8, 1), ['iCCP', deflateSync(Buffer.alloc(2 ** 20))], END),
    'less than it says': png(header(8, 100), data(line), END),
    'data that is none': png(header(8, 1), ['IDAT', Buffer.from('not packed')], END),
    'no end': png(header(8, 1), data(line)),
    'a filter that there is not': png(header(8, 1), data(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 0])), END),
    'a palette that is missing': png(header(8, 1, 8, 3), data(line), END),
    'a part that is not known': png(header(8, 1), ['EVIL', line], data(line), END),
    'a wrong checksum': (() => {
      const bytes = Buffer.from(qrPng(LINK));
      bytes[60] = (bytes[60] ?? 0) ^ 1;
      return bytes;
    })(),
    'a length that leads beyond the end': (() => {
      const bytes = Buffer.from(qrPng(LINK));
      bytes.writeUInt32BE(0xffffffff, 33);
      return bytes;
    })(),
    'no code': png(header(8, 1), data(line), END)
  };
  test.each(Object.entries(hostile))('%s', (_, bytes) => {
    expect(() => readQr(bytes)).toThrow(refused);
  });

  test('whatever is cut off or changed is refused', () => {
    const good = qrPng(LINK);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, change, cut) => {
        const bytes = cut ? good.subarray(0, at) : Buffer.from(good);
        if (!cut) bytes[at] = (bytes[at] ?? 0) ^ change;
        expect(() => readQr(bytes)).toThrow(refused);
      }),
      { numRuns: 100 }
    );
  });
});
