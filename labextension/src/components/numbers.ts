/** Numbers as people read them. */

/** What is known of the numbers of a column. */
export interface Spread {
  readonly isWhole: boolean;
  /** Of their magnitudes; 0 when there is none. */
  readonly largest: number;
}

const DIGITS = 4;

/** A metric's value; JSON has no word for NaN and the infinities, which come as strings. */
export function metricValue(value: unknown): number {
  return Number(value);
}

/** A number by itself, to six significant digits. */
export function numberText(value: number): string {
  return Number.isFinite(value) ? trimmed(value.toPrecision(6)) : special(value);
}

/** A number of a column, formatted like its neighbours so that they can be compared by eye. */
export function columnNumber(value: number, { isWhole, largest }: Spread): string {
  if (!Number.isFinite(value)) {
    return special(value);
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

/** A length of time in its two greatest units: `0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 10 min`. */
export function durationText(milliseconds: number): string {
  const seconds = Math.max(milliseconds, 0) / 1000;
  if (seconds < 59.95) {
    return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  }
  const whole = Math.round(seconds);
  const two = (count: number): string => String(count).padStart(2, '0');
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  }
  if (whole < 86_400) {
    return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  }
  return `${Math.floor(whole / 86_400)} d ${two(Math.floor((whole % 86_400) / 3600))} h`;
}

function special(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '-∞';
}

function trimmed(text: string): string {
  return text.includes('e') || !text.includes('.') ? text : text.replace(/\.?0+$/, '');
}
