/** The rows of a comparison: which of them differ, and the axes that they make. */
import type { Comparison } from '../api';
import { toNumber } from '../components/figures';
import type { Dimension } from '../components/spread';

type Row = Comparison['rows'][number];

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
