/** Stands in for what browsers have and jsdom does not. */
import { cleanup } from '@testing-library/react';
import { afterEach } from 'vitest';

class NoResizes implements ResizeObserver {
  observe(): void {
    /* Nothing is ever resized. */
  }
  unobserve(): void {
    /* As above. */
  }
  disconnect(): void {
    /* As above. */
  }
}

globalThis.ResizeObserver = NoResizes;
window.matchMedia = query => Object.assign(new EventTarget(), { matches: false, media: query }) as MediaQueryList;
globalThis.DragEvent = class extends MouseEvent {} as typeof DragEvent;
// No preference, and no print.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-condition
window.matchMedia ??= media =>
  Object.assign(new EventTarget(), { media, matches: false, onchange: null, addListener() {}, removeListener() {} }) as MediaQueryList;
// There is nothing to scroll.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-condition
Element.prototype.scrollIntoView ??= () => undefined;

afterEach(cleanup);
