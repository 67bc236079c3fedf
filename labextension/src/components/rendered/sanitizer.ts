/** Lab's sanitizer, and on top of it: nothing is loaded from elsewhere, nothing can be sent. */
import { Sanitizer } from '@jupyterlab/apputils';
import type { IRenderMime } from '@jupyterlab/rendermime';

/** What may be loaded: what is in the document itself, of kinds that run nothing. */
const OWN = /^data:(image\/(png|jpeg|gif|webp|bmp)|audio\/|video\/)/i;
const LINK = /^(https?:|mailto:|#)/i;
const LOADING = ['src', 'srcset', 'poster', 'background', 'data', 'xlink:href'];
const ACTING = ['action', 'formaction', 'form', 'name', 'id', 'ping', 'autofocus', 'autoplay', 'usemap', 'accesskey'];

export class OfflineSanitizer implements IRenderMime.ISanitizer {
  readonly allowNamedProperties = false;
  private readonly _sanitizer = new Sanitizer();

  getAutolink(): boolean {
    return true;
  }

  sanitize(dirty: string, options?: IRenderMime.ISanitizerOptions): string {
    // A document of its own: nothing in it is loaded while it is looked at.
    const { body } = new DOMParser().parseFromString(this._sanitizer.sanitize(dirty, options), 'text/html');
    for (const element of body.querySelectorAll('*')) {
      disarm(element);
    }
    return body.innerHTML;
  }
}

function disarm(element: Element): void {
  for (const { name, value } of [...element.attributes]) {
    const isForeign = LOADING.includes(name) && !OWN.test(value);
    const isUnsafeStyle = name === 'style' && /url|image|\\|expression/i.test(value);
    if (isForeign || isUnsafeStyle || ACTING.includes(name) || name.startsWith('on') || name.startsWith('data-')) {
      element.removeAttribute(name);
    }
  }
  switch (element.localName) {
    case 'a':
      if (LINK.test(element.getAttribute('href') ?? '')) {
        element.setAttribute('target', '_blank');
        element.setAttribute('rel', 'noopener noreferrer nofollow');
      } else {
        element.removeAttribute('href');
      }
      break;
    case 'form':
      element.replaceWith(...element.childNodes);
      break;
    case 'button':
    case 'input':
    case 'select':
    case 'textarea':
      element.setAttribute('disabled', '');
  }
}
