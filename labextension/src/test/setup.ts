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
Element.prototype.scrollIntoView = () => undefined;

afterEach(cleanup);
