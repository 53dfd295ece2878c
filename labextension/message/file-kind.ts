/** In which way a file of a message is shown, by its name. Pure. */

export type FileView = 'notebook' | 'image' | 'markdown' | 'table' | 'text';

/** Types that a browser shows as a picture and runs nothing of. */
const IMAGES: Readonly<Record<string, string>> = {
  png: 'image/png',
  apng: 'image/apng',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  bmp: 'image/bmp',
  ico: 'image/x-icon',
  svg: 'image/svg+xml'
};

/** Bytes; what is larger can be downloaded. */
const LARGEST: Readonly<Record<FileView, number>> = {
  notebook: 20e6,
  image: 30e6,
  markdown: 2e6,
  table: 20e6,
  text: 5e6
};

function extensionOf(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1).toLowerCase();
}

/** The MIME type of a picture; undefined for all else. */
export function imageType(path: string): string | undefined {
  const extension = extensionOf(path);
  return Object.hasOwn(IMAGES, extension) ? IMAGES[extension] : undefined;
}

export function viewOf(path: string): FileView {
  if (imageType(path) !== undefined) return 'image';
  switch (extensionOf(path)) {
    case 'ipynb':
      return 'notebook';
    case 'md':
    case 'markdown':
      return 'markdown';
    case 'csv':
    case 'tsv':
      return 'table';
    default:
      return 'text';
  }
}

export function isTooLarge(view: FileView, bytes: number): boolean {
  return bytes > LARGEST[view];
}
