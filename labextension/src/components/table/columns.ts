/** What a table's columns are. */
import type { ReactNode } from 'react';

export interface Column<T> {
  readonly id: string;
  /** A word over the first of the neighbours that have the same one. */
  readonly group?: string;
  readonly title: string;
  /** What stands there in place of the title. */
  readonly head?: ReactNode;
  /** Pixels. */
  readonly width: number;
  /** Numbers stand at the right. */
  readonly isNumber?: boolean;
  readonly isSortable?: boolean;
  readonly cell: (row: T) => ReactNode;
}

export interface Sorting {
  readonly column: string;
  readonly isDescending: boolean;
}

/** Where the keyboard is: `row` -1 is the header, `column` counts the box for selecting. */
export interface Place {
  readonly row: number;
  readonly column: number;
}
