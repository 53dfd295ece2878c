/**
 * JupyterLab's sanitizer, and stricter: nothing is fetched and no command is run by what a stranger wrote. A picture from elsewhere would
 * tell whoever has it that, when and from where the message was looked at.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';

/** Attributes that a browser fetches from by itself. */
const FETCHED = ['src', 'srcset', 'poster', 'background', 'data', 'lowsrc', 'xlink:href'];
/** What is in the file itself. `attachment:` names a picture that a notebook cell brings with it. */
const INSIDE = /^\s*(data:image\/|attachment:)/i;

export class StillSanitizer implements IRenderMime.ISanitizer {
  constructor(private readonly _inner: IRenderMime.ISanitizer) {}

  readonly allowNamedProperties = false;
  readonly allowCommandLinker = false;

  getAutolink(): boolean {
    return this._inner.getAutolink?.() ?? true;
  }

  sanitize(dirty: string, options?: IRenderMime.ISanitizerOptions): string {
    // A document of its own: while it is looked through, nothing of it is fetched.
    const { body } = new DOMParser().parseFromString(this._inner.sanitize(dirty, options), 'text/html');
    for (const element of body.querySelectorAll('*')) {
      for (const name of element.getAttributeNames()) {
        const value = element.getAttribute(name) ?? '';
        const fetches = FETCHED.includes(name) && !INSIDE.test(value);
        const styled = name === 'style' && /url\s*\(|image-set|\\/i.test(value);
        if (fetches || styled || name.startsWith('data-commandlinker')) element.removeAttribute(name);
      }
      // Of a link a browser fetches nothing before it is followed; of a style sheet it does.
      if (/^(link|style|base|meta)$/i.test(element.tagName)) element.remove();
    }
    return body.innerHTML;
  }
}
