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
globalThis.DragEvent = class extends MouseEvent {} as typeof DragEvent;

afterEach(cleanup);
