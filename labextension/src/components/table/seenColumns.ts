import { type RefObject, useLayoutEffect, useMemo, useState } from 'react';

import type { Column } from './columns';
import type { Placed } from './TableRow';

/** Columns are drawn this far beyond what is seen, in pixels, and a scroll by less draws nothing anew. */
const AHEAD = 240;

export interface SeenColumns<T> {
  /** Those that are drawn beside the first, which always is. */
  readonly placed: readonly Placed<T>[];
  /** The width of all, in pixels. */
  readonly width: number;
  /** Scrolls until a column is in view. */
  readonly reveal: (index: number) => void;
}

/** Which columns of a table are in view, right of those `pinned` pixels that do not scroll. */
export function useSeenColumns<T>(
  scroller: RefObject<HTMLElement>,
  columns: readonly Column<T>[],
  pinned: number
): SeenColumns<T> {
  const [view, setView] = useState({ from: 0, to: 0 });
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) {
      return;
    }
    const look = (): void => {
      const from = Math.floor(element.scrollLeft / AHEAD) * AHEAD;
      const to = Math.ceil((element.scrollLeft + element.clientWidth) / AHEAD) * AHEAD;
      setView(before => (before.from === from && before.to === to ? before : { from, to }));
    };
    const resized = new ResizeObserver(look);
    resized.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    look();
    return () => {
      resized.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, [scroller]);
  const all = useMemo(() => {
    const found: Placed<T>[] = [];
    let start = pinned;
    columns.slice(1).forEach((column, place) => {
      found.push({ column, index: place + 1, start });
      start += column.width;
    });
    return found;
  }, [columns, pinned]);
  const placed = useMemo(
    () => all.filter(({ start, column }) => start < view.to + AHEAD && start + column.width > view.from - AHEAD),
    [all, view]
  );
  const last = all.at(-1);
  const reveal = (index: number): void => {
    const element = scroller.current;
    const at = all[index - 1];
    if (element !== null && at !== undefined) {
      const most = at.start - pinned;
      const least = at.start + at.column.width - element.clientWidth;
      element.scrollTo({ left: Math.max(Math.min(element.scrollLeft, most), least) });
    }
  };
  return { placed, width: last === undefined ? pinned : last.start + last.column.width, reveal };
}
