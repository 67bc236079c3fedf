/** What runs have, one number or word a run: the axes that they are spread over. */
import type { Comparison } from '../api';
import { toNumber } from '../components/figures';

type Row = Comparison['rows'][number];

export interface Dimension {
  readonly id: string;
  readonly name: string;
  readonly group: 'params' | 'metrics';
  /** Of each run: a number where all that have one have a number, else a word; null where it has none. */
  readonly values: readonly (number | string | null)[];
  /** The words in their order; null for numbers. */
  readonly words: readonly string[] | null;
}

export const rowId = ({ group, name }: Row): string => `${group}.${name}`;

/** Not the same in all runs, as the server has compared them. */
export function differs({ texts }: Row): boolean {
  return texts.some(text => text !== texts[0]);
}

/** The parameters and metrics that differ. */
export function dimensions(comparison: Comparison): Dimension[] {
  return comparison.rows.flatMap(row =>
    (row.group === 'params' || row.group === 'metrics') && differs(row) ? [dimension(row, row.group)] : []
  );
}

function dimension(row: Row, group: 'params' | 'metrics'): Dimension {
  const named = { id: rowId(row), name: row.name, group };
  const isNumber = row.values.every(
    (value, index) => row.texts[index] == null || group === 'metrics' || typeof value === 'number'
  );
  if (isNumber) {
    const values = row.values.map(value => (value == null ? null : finite(toNumber(value as number | string))));
    return { ...named, values, words: null };
  }
  const words = [...new Set(row.texts.filter(text => text != null))].sort();
  return { ...named, values: row.texts.map(text => text ?? null), words };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Where a value is on its axis: a number, or the place of a word. */
export function position({ words }: Dimension, value: number | string | null): number | null {
  return typeof value === 'string' ? (words?.indexOf(value) ?? null) : value;
}
