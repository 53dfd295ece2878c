/**
 * Just enough of PNG (https://www.w3.org/TR/png-3/) for a picture of a QR code: a reader of what anybody sends, and a writer of black and
 * white. The reader says no before it unpacks anything: whoever made the picture has chosen what it says of itself.
 */
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { SyftError } from '../core/errors.ts';

/** Bytes of a picture that is read. */
export const MAX_PICTURE_BYTES = 16 * 2 ** 20;
/** Pixels of a picture that is read: a screen of 3840 × 2160 has less. */
const MAX_PIXELS = 2 ** 23;
const MAX_SIDE = 4096;
/** Unpacked, which is what is in memory at once: {@link MAX_PIXELS} of four bytes each, and the filter of each line. */
const MAX_RAW_BYTES = 4 * MAX_PIXELS + MAX_SIDE;

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
const WHITE = 255;

/** Brightness of each pixel, line by line from the top, on white paper. */
export interface GrayImage {
  readonly width: number;
  readonly height: number;
  readonly luma: Uint8Array;
}

/** Colour types, with their samples a pixel and the bits that a sample may have. */
const COLOUR_TYPES: Readonly<Record<number, { samples: number; depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] }
};

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colourType: number;
  readonly samples: number;
  /** Bytes of a line, without its filter. */
  readonly lineBytes: number;
}

function invalid(why: string, cause?: unknown): SyftError {
  return new SyftError('BAD_REQUEST', `The picture is not read: ${why}.`, { cause });
}

/** Whether it begins as a PNG does. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.equals(bytes.subarray(0, SIGNATURE.length));
}

/**
 * Reads a picture as shades of gray. What is transparent is white.
 *
 * @throws SyftError BAD_REQUEST: not a PNG, damaged, interlaced, or larger than is read.
 */
export function readPng(bytes: Uint8Array): GrayImage {
  if (bytes.length > MAX_PICTURE_BYTES) throw invalid(`it has more than ${MAX_PICTURE_BYTES / 2 ** 20} MiB`);
  if (!isPng(bytes)) throw invalid('it is not a PNG');
  const chunks = readChunks(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const { header, palette, transparent } = chunks;
  const expected = (header.lineBytes + 1) * header.height;
  let raw: Buffer;
  try {
    raw = inflateSync(Buffer.concat(chunks.data), { maxOutputLength: expected });
  } catch (error) {
    throw invalid('it is damaged, or holds more than it says', error);
  }
  if (raw.length !== expected) throw invalid('it ends too early');
  unfilter(raw, header);
  return {
    width: header.width,
    height: header.height,
    luma: grayOf(raw, header, shades(header, palette, transparent))
  };
}

interface Chunks {
  readonly header: Header;
  readonly palette: Buffer | undefined;
  readonly transparent: Buffer | undefined;
  readonly data: readonly Buffer[];
}

/** Goes from chunk to chunk; what a picture may have besides is passed over. @throws SyftError BAD_REQUEST. */
function readChunks(bytes: Buffer): Chunks {
  let header: Header | undefined;
  let palette: Buffer | undefined;
  let transparent: Buffer | undefined;
  const data: Buffer[] = [];
  for (let at = SIGNATURE.length; ;) {
    if (at + 12 > bytes.length) throw invalid('it ends too early');
    const size = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    if (size > bytes.length - at - 12) throw invalid('it ends too early');
    const body = bytes.subarray(at + 8, at + 8 + size);
    if (bytes.readUInt32BE(at + 8 + size) !== crc32(bytes.subarray(at + 4, at + 8 + size))) {
      throw invalid('it is damaged');
    }
    at += 12 + size;
    if (header === undefined) {
      if (type !== 'IHDR') throw invalid('it has no header');
      header = readHeader(body);
    } else if (type === 'IEND') {
      return { header, palette, transparent, data };
    } else if (type === 'IDAT') {
      data.push(body);
    } else if (type === 'PLTE') {
      palette = body;
    } else if (type === 'tRNS') {
      transparent = body;
    } else if (/^[A-Z]/.test(type)) {
      throw invalid('it has parts that are not known');
    }
  }
}

function readHeader(body: Buffer): Header {
  if (body.length !== 13) throw invalid('its header is none');
  const [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
  const [depth = 0, colourType = 0, compression, filter, interlace] = body.subarray(8);
  const type = COLOUR_TYPES[colourType];
  if (type?.depths.includes(depth) !== true || compression !== 0 || filter !== 0) throw invalid('its header is none');
  if (width === 0 || height === 0) throw invalid('it has no pixels');
  if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS) {
    throw invalid(`${width} × ${height} pixels are too many; cut out the code`);
  }
  if (interlace !== 0) throw invalid('it is interlaced; save it without');
  const lineBytes = Math.ceil((width * type.samples * depth) / 8);
  if ((lineBytes + 1) * height > MAX_RAW_BYTES) throw invalid('it is too large; save it with 8 bits a colour');
  return { width, height, depth, colourType, samples: type.samples, lineBytes };
}

/** Takes the filters of all lines away, in place. @throws SyftError BAD_REQUEST when there is no such filter. */
function unfilter(raw: Buffer, { height, lineBytes, samples, depth }: Header): void {
  const back = Math.max(1, (samples * depth) >> 3);
  for (let y = 0; y < height; y += 1) {
    const start = y * (lineBytes + 1) + 1;
    const filter = raw[start - 1] as number;
    if (filter > 4) throw invalid('it is damaged');
    if (filter === 0) continue;
    for (let i = start; i < start + lineBytes; i += 1) {
      const left = i - start < back ? 0 : (raw[i - back] as number);
      const above = y === 0 ? 0 : (raw[i - lineBytes - 1] as number);
      const corner = y === 0 || i - start < back ? 0 : (raw[i - lineBytes - 1 - back] as number);
      raw[i] = (raw[i] as number) + predicted(filter, left, above, corner);
    }
  }
}

function predicted(filter: number, left: number, above: number, corner: number): number {
  switch (filter) {
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return (left + above) >> 1;
    default: {
      const toLeft = Math.abs(above - corner);
      const toAbove = Math.abs(left - corner);
      const toCorner = Math.abs(left + above - 2 * corner);
      if (toLeft <= toAbove && toLeft <= toCorner) return left;
      return toAbove <= toCorner ? above : corner;
    }
  }
}

function brightness(red: number, green: number, blue: number): number {
  return (red * 77 + green * 150 + blue * 29) >> 8;
}

function onWhite(shade: number, alpha: number): number {
  return WHITE + Math.round(((shade - WHITE) * alpha) / 255);
}

/** Of a picture whose sample is a number of a shade: the shades. `undefined` where the samples are the colour. */
function shades(
  { colourType, depth }: Header,
  palette: Buffer | undefined,
  transparent: Buffer | undefined
): Uint8Array | undefined {
  if (colourType === 3) {
    if (palette === undefined || palette.length === 0 || palette.length % 3 !== 0) throw invalid('it has no colours');
    // A number behind the last colour is white, as paper is.
    const all = new Uint8Array(256).fill(WHITE);
    for (let i = 0; i < Math.min(256, palette.length / 3); i += 1) {
      const [red = 0, green = 0, blue = 0] = palette.subarray(3 * i, 3 * i + 3);
      all[i] = onWhite(brightness(red, green, blue), transparent?.[i] ?? 255);
    }
    return all;
  }
  if (colourType !== 0 || depth > 8) return undefined;
  const most = 2 ** depth - 1;
  const all = Uint8Array.from({ length: 256 }, (_, i) => Math.min(255, Math.round((i * 255) / most)));
  if (transparent?.length === 2) all[transparent.readUInt16BE(0) & most] = WHITE;
  return all;
}

function grayOf(raw: Buffer, header: Header, known: Uint8Array | undefined): Uint8Array {
  const { width, height, depth, samples, lineBytes } = header;
  const luma = new Uint8Array(width * height);
  /** Of 16 bits the upper eight say enough. */
  const sampleBytes = depth === 16 ? 2 : 1;
  for (let y = 0, to = 0; y < height; y += 1) {
    const start = y * (lineBytes + 1) + 1;
    for (let x = 0; x < width; x += 1, to += 1) {
      if (known !== undefined) {
        const bit = x * depth;
        const byte = raw[start + (bit >> 3)] as number;
        luma[to] = known[(byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1)] as number;
        continue;
      }
      const at = start + x * samples * sampleBytes;
      const sample = (i: number): number => raw[at + i * sampleBytes] as number;
      const shade = samples < 3 ? sample(0) : brightness(sample(0), sample(1), sample(2));
      luma[to] = samples % 2 === 0 ? onWhite(shade, sample(samples - 1)) : shade;
    }
  }
  return luma;
}

function chunk(type: string, body: Uint8Array): Buffer {
  const framed = Buffer.alloc(12 + body.length);
  framed.writeUInt32BE(body.length, 0);
  framed.write(type, 4, 'latin1');
  framed.set(body, 8);
  framed.writeUInt32BE(crc32(framed.subarray(4, 8 + body.length)), 8 + body.length);
  return framed;
}

/**
 * Writes a picture in black and white.
 *
 * @param dark Lines from the top, of equal length.
 */
export function writePng(dark: readonly (readonly boolean[])[]): Buffer {
  const width = dark[0]?.length ?? 0;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(dark.length, 4);
  // One bit of gray: 1 is white.
  header[8] = 1;
  const lineBytes = Math.ceil(width / 8);
  const raw = Buffer.alloc((lineBytes + 1) * dark.length);
  dark.forEach((line, y) =>
    line.forEach((isDark, x) => {
      if (isDark) return;
      const at = y * (lineBytes + 1) + 1 + (x >> 3);
      raw[at] = (raw[at] as number) | (0x80 >> (x & 7));
    })
  );
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', Buffer.alloc(0))
  ]);
}
