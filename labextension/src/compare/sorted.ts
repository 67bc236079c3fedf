/** The order of runs that are all here. */
import type { Run } from '../api';
import { toNumber } from '../components/figures';
import type { Sorting } from '../components/table';
import { fieldName } from '../runs/fields';
import type { Line } from '../runs/lines';

type Value = number | string | null;

/** Runs without a value come last in both directions, as the server has it. */
export function compared({ column, isDescending }: Sorting): (one: Line, other: Line) => number {
  const sign = isDescending ? -1 : 1;
  return ({ run: one }, { run: other }) => {
    const [first, second] = [valueOf(one, column), valueOf(other, column)];
    if (first === null || second === null) {
      return Number(first === null) - Number(second === null);
    }
    return typeof first === 'number' && typeof second === 'number'
      ? sign * (first - second)
      : sign * String(first).localeCompare(String(second));
  };
}

function valueOf(run: Run, column: string): Value {
  for (const { key, value } of run.metrics ?? []) {
    if (fieldName('metrics', key) === column) {
      const number = toNumber(value);
      return Number.isNaN(number) ? null : number;
    }
  }
  for (const { key, value, text } of run.params ?? []) {
    if (fieldName('params', key) === column) {
      return typeof value === 'number' ? value : text;
    }
  }
  for (const { key, value } of run.tags ?? []) {
    if (fieldName('tags', key) === column) {
      return value;
    }
  }
  const value = run[column.replace('attributes.', '') as keyof Run];
  return typeof value === 'string' || typeof value === 'number' ? value : null;
}
