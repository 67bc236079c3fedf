/** Stands in for what browsers have and jsdom does not. */
import { cleanup } from '@testing-library/react';
import { Blob } from 'node:buffer';
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
// That of jsdom cannot be read, and is what responses give with Node.js 24.
globalThis.Blob = Blob as typeof globalThis.Blob;
window.matchMedia = query => Object.assign(new EventTarget(), { matches: false, media: query }) as MediaQueryList;
globalThis.DragEvent = class extends MouseEvent {} as typeof DragEvent;
Element.prototype.scrollIntoView = () => undefined;
window.requestIdleCallback = told => window.setTimeout(told);
window.cancelIdleCallback = timer => window.clearTimeout(timer);

// As JupyterLab's style sheet has it, which is not read here: a dialog is seen, though it is not opened as one.
document.head.append(Object.assign(document.createElement('style'), { textContent: '.jp-Dialog { display: flex }' }));

afterEach(cleanup);
