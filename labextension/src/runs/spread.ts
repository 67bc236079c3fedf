/** What runs are spread over: their parameters and metrics that differ. */
import type { Run } from '../api';
import { toNumber } from '../components/figures';
import type { Dimension } from '../components/spread';
import { type Facts, type Gathered, isSystems } from './fields';
import { valuesOf } from './values';

/** More words than that on an axis cannot be read. */
const MOST_WORDS = 40;

export function dimensionsOf(runs: readonly Run[], { facts }: Gathered): Dimension[] {
  return [...facts].flatMap(([id, each]) => {
    const { kind, key, isVaried } = each;
    if ((kind !== 'params' && kind !== 'metrics') || !isVaried || isSystems(kind, key)) {
      return [];
    }
    const dimension = { id, name: key, group: kind, ...spreadOf(runs, each) };
    return dimension.words !== null && dimension.words.length > MOST_WORDS ? [] : [dimension];
  });
}

function spreadOf(runs: readonly Run[], { kind, key, isNumber }: Facts): Pick<Dimension, 'values' | 'words'> {
  if (isNumber) {
    return { values: runs.map(run => finite(numberOf(run, kind, key))), words: null };
  }
  const values = runs.map(run => valuesOf(run).params.get(key)?.text ?? null);
  return { values, words: [...new Set(values.filter(value => value !== null))].sort() };
}

function numberOf(run: Run, kind: string, key: string): number {
  const { params, metrics } = valuesOf(run);
  return kind === 'metrics' ? toNumber(metrics.get(key)?.value) : Number(params.get(key)?.value ?? NaN);
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
