import { describe, expect, it } from 'vitest';

import part from '../../test/run/part.json';
import whole from '../../test/run/samples.json';
import { drawn, type Point, refined, smoothed, stepsBetween } from './samples';

// Of a metric with 1,000,000 points: all of it, and the steps 400,000 to 500,000.
const WHOLE = whole as unknown as Point[];
const PART = part as unknown as Point[];

describe('a sample', () => {
  it('is refined where it was looked at more closely, and kept elsewhere', () => {
    const both = refined(WHOLE, PART, { first: 400_000, last: 500_000 });
    const steps = both.map(([step]) => step);
    expect(steps).toEqual([...steps].sort((one, other) => one - other));
    expect(both.length).toBeGreaterThan(WHOLE.length);
    expect(steps[0]).toBe(0);
    expect(steps.at(-1)).toBe(999_999);
    expect(PART.every(point => both.includes(point))).toBe(true);
  });

  it('is asked for with one more point on either side of what is seen', () => {
    const range = stepsBetween(WHOLE, 'step', 400_000.5, 499_999.5);
    const steps = WHOLE.map(([step]) => step);
    expect(range?.first).toBe(steps.filter(step => step < 400_000.5).at(-1));
    expect(range?.last).toBe(steps.find(step => step > 499_999.5));
  });

  it('is asked for between two points by both of them', () => {
    const points: Point[] = [
      [0, 1000, 1],
      [100, 2000, 2]
    ];
    expect(stepsBetween(points, 'time', 1400, 1500)).toEqual({ first: 0, last: 100 });
    expect(stepsBetween([], 'step', 0, 1)).toBeNull();
  });
});

describe('a line', () => {
  const points: Point[] = [
    [0, 10, 1],
    [1, 20, 'NaN'],
    [2, 30, -1],
    [3, 40, 'Infinity']
  ];

  it('is broken where there is no number', () => {
    expect(drawn(points, 'step', false)).toEqual([
      [0, 1],
      [1, null],
      [2, -1],
      [3, null]
    ]);
  });

  it('is broken also where a logarithm has no place', () => {
    expect(drawn(points, 'time', true)).toEqual([
      [10, 1],
      [20, null],
      [30, null],
      [40, null]
    ]);
  });

  it('of one value stays at it when it is smoothed', () => {
    const line: [number, number | null][] = [0, 1, 2, 3].map(x => [x, x === 2 ? null : 5]);
    const levels = smoothed(line, 0.9).map(([, y]) => y);
    expect(levels[2]).toBeNull();
    for (const level of [levels[0], levels[1], levels[3]]) {
      expect(level).toBeCloseTo(5);
    }
  });
});
