/** A link as a QR code (ISO/IEC 18004): as SVG, as PNG, in a terminal, and read back from a picture that somebody sends. */
import { encodeQR } from 'qr';
import { decodeQR } from 'qr/decode.js';
import { SyftError } from '../core/errors.ts';
import { readPng, writePng } from './png.ts';

/** Modules of white around the code, as the standard wants it. */
const QUIET = 4;
/** Pixels of a module in a PNG: a camera and a screen have enough of them. */
const SCALE = 8;
/** Beyond what every picture gets, milliseconds that a reader goes on trying. */
const READ_MS = 1000;
const READ_EFFORT = 8;

/** Lines of modules, `true` is dark, with the white around them. @throws SyftError BAD_REQUEST when it is more than a code holds. */
function modules(text: string, scale: number): boolean[][] {
  for (const ecc of ['medium', 'low'] as const) {
    try {
      return encodeQR(text, 'raw', { border: QUIET, ecc, scale });
    } catch (error) {
      if (ecc === 'medium') continue;
      throw new SyftError(
        'BAD_REQUEST',
        'The link is longer than a QR code can hold: a shorter name or age recipient is needed. Send the link itself.',
        { cause: error }
      );
    }
  }
  return [];
}

function xmlText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd');
}

/**
 * A QR code as an SVG document: no scripts, no styles, nothing from elsewhere. Black on white in every theme, for what reads it.
 *
 * @param title What it is, for who cannot see it.
 * @throws SyftError BAD_REQUEST when the text is more than a code holds.
 */
export function qrSvg(text: string, title: string): string {
  const lines = modules(text, 1);
  const path = lines
    .flatMap((line, y) =>
      line.flatMap((isDark, x) => {
        if (!isDark || line[x - 1] === true) return [];
        const end = line.indexOf(false, x);
        const run = (end < 0 ? line.length : end) - x;
        return [`M${x} ${y}h${run}v1h-${run}z`];
      })
    )
    .join('');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${lines.length} ${lines.length}" role="img" shape-rendering="crispEdges">`,
    `<title>${xmlText(title)}</title>`,
    `<rect width="${lines.length}" height="${lines.length}" fill="#fff"/>`,
    `<path fill="#000" d="${path}"/>`,
    '</svg>\n'
  ].join('');
}

/** A QR code as PNG. @throws SyftError BAD_REQUEST when the text is more than a code holds. */
export function qrPng(text: string): Buffer {
  return writePng(modules(text, SCALE));
}

/**
 * A QR code in half blocks, two lines of modules in one of text.
 *
 * @param colours Sets black on white, whatever the terminal has. Otherwise what is dark is drawn.
 * @throws SyftError BAD_REQUEST when the text is more than a code holds.
 */
export function qrText(text: string, colours: boolean): string {
  const lines = modules(text, 1);
  const rows: string[] = [];
  for (let y = 0; y < lines.length; y += 2) {
    const row = (lines[y] ?? [])
      .map((upper, x) => {
        const lower = lines[y + 1]?.[x] === true;
        return upper ? (lower ? '█' : '▀') : lower ? '▄' : ' ';
      })
      .join('');
    rows.push(colours ? `\u001b[38;5;16;48;5;231m${row}\u001b[0m` : row.trimEnd());
  }
  return `${rows.join('\n')}\n`;
}

/**
 * What a QR code in a picture says.
 *
 * @param picture A PNG.
 * @throws SyftError BAD_REQUEST: the picture is none that is read, or no code is found in it.
 */
export function readQr(picture: Uint8Array): string {
  const { width, height, luma } = readPng(picture);
  try {
    return decodeQR({ width, height, data: luma }, { format: 'I420', effort: READ_EFFORT, timeLimit: READ_MS });
  } catch (error) {
    throw new SyftError(
      'BAD_REQUEST',
      'No QR code was found in the picture. Cut it out so that it fills the picture with white around it, or use the link.',
      { cause: error }
    );
  }
}
