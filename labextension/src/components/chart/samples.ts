/** Points of metrics as charts take them: arithmetic only. */
import type { Told } from '../figures';
import { toNumber } from '../figures';

/** Step, time in milliseconds, value; as the API gives them. */
export type Point = readonly [number, number, Told];

/** Steps, both included. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** A coarse sample of the whole, with a finer one in the place of the steps that it covers. Both are ordered by step. */
export function refined(whole: readonly Point[], part: readonly Point[], { first, last }: Range): readonly Point[] {
  const before = whole.filter(([step]) => step < first);
  const after = whole.filter(([step]) => step > last);
  return [...before, ...part, ...after];
}

/** The steps of the points that lie between two places of the x axis, and one more on either side. */
export function stepsBetween(points: readonly Point[], axis: Axis, from: number, to: number): Range | null {
  const place = axis === 'time' ? 1 : 0;
  const inside = points.map((point, index) => ({ at: point[place], index })).filter(({ at }) => at >= from && at <= to);
  const begin = inside[0]?.index ?? points.findIndex(point => point[place] >= from);
  const end = inside[inside.length - 1]?.index ?? begin;
  const first = points[Math.max(begin - 1, 0)];
  const last = points[Math.min(end + 1, points.length - 1)];
  return first === undefined || last === undefined ? null : { first: first[0], last: last[0] };
}

export type Axis = 'step' | 'time';

/** What is drawn: `[x, y]`, null where a line is broken. */
export function drawn(points: readonly Point[], axis: Axis, isLogarithmic: boolean): [number, number | null][] {
  return points.map(([step, time, told]) => {
    const value = toNumber(told);
    const isShown = Number.isFinite(value) && (!isLogarithmic || value > 0);
    return [axis === 'time' ? time : step, isShown ? value : null];
  });
}

/**
 * An exponential moving average whose first values are not drawn to zero. `weight`, from 0 to below 1, is how much of
 * what came before counts.
 */
export function smoothed(line: readonly [number, number | null][], weight: number): [number, number | null][] {
  let sum = 0;
  let seen = 1;
  return line.map(([x, y]) => {
    if (y === null) {
      return [x, null];
    }
    sum = sum * weight + (1 - weight) * y;
    seen *= weight;
    return [x, sum / (1 - seen)];
  });
}
