/** Where the keys of the grid pattern lead (ARIA Authoring Practices). */
import type { Place } from './columns';

interface Extent {
  readonly rows: number;
  readonly columns: number;
  /** Rows that are seen at once. */
  readonly page: number;
}

interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
}

/** The place that a key leads to; null for a key that moves nothing. */
export function moved({ row, column }: Place, { key, ctrlKey, metaKey }: Key, { rows, columns, page }: Extent): Place | null {
  const isFar = ctrlKey || metaKey;
  switch (key) {
    case 'ArrowUp':
      return { row: Math.max(row - 1, -1), column };
    case 'ArrowDown':
      return { row: Math.min(row + 1, rows - 1), column };
    case 'ArrowLeft':
      return { row, column: Math.max(column - 1, 0) };
    case 'ArrowRight':
      return { row, column: Math.min(column + 1, columns - 1) };
    case 'PageUp':
      return { row: Math.max(row - page, Math.min(row, 0)), column };
    case 'PageDown':
      return { row: Math.min(row + page, rows - 1), column };
    case 'Home':
      return { row: isFar ? Math.min(0, rows - 1) : row, column: 0 };
    case 'End':
      return { row: isFar ? rows - 1 : row, column: columns - 1 };
    default:
      return null;
  }
}
