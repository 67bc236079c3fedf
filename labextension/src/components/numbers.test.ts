import { describe, expect, it } from 'vitest';

import { columnNumber, spreadOf } from './numbers';

const column = (values: readonly number[]): string[] => values.map(value => columnNumber(value, spreadOf(values)));

describe('a column of numbers', () => {
  it.each([
    [[3, 12, 5], ['3', '12', '5']],
    [[0.914, 0.9, 0.87123], ['0.9140', '0.9000', '0.8712']],
    [[123.4, 0.5], ['123.4', '0.5']],
    [[0.5, 1e-7], ['0.5000', '1.0e-7']],
    [[1e12, 2.5e12], ['1.000e+12', '2.500e+12']],
    [[0.5, NaN, Infinity], ['0.5000', 'NaN', '∞']]
  ])('is formatted alike: %j', (values, texts) => {
    expect(column(values)).toEqual(texts);
  });
});
