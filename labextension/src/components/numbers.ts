/** Columns of numbers. */
import { figure } from './figures';

/** What is known of the numbers of a column. */
export interface Spread {
  readonly isWhole: boolean;
  /** Of their magnitudes; 0 when there is none. */
  readonly largest: number;
}

const DIGITS = 4;

export function spreadOf(values: readonly number[]): Spread {
  const finite = values.filter(Number.isFinite);
  return {
    isWhole: values.every(Number.isInteger),
    largest: finite.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0)
  };
}

/** A number of a column, formatted like its neighbours so that they can be compared by eye. */
export function columnNumber(value: number, { isWhole, largest }: Spread): string {
  if (!Number.isFinite(value)) {
    return figure(value);
  }
  if (isWhole && largest < 1e12) {
    return String(value);
  }
  if (largest >= 1e9 || largest < 1e-4) {
    return value.toExponential(DIGITS - 1);
  }
  const decimals = Math.max(DIGITS - 1 - Math.floor(Math.log10(largest)), 0);
  // One far below the largest shows its first digits, rather than none.
  const isFar = value !== 0 && Math.abs(value) < 0.5 * 10 ** -decimals;
  return isFar ? value.toExponential(1) : value.toFixed(decimals);
}
