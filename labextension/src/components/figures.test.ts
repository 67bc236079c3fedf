import { describe, expect, it } from 'vitest';

import { duration, figure, size } from './figures';

describe('a number', () => {
  it.each([
    [0.9934287, '0.9934'],
    [41, '41'],
    [0, '0'],
    [1e-7, '1.000e-7'],
    [12345678.9, '1.235e+7'],
    ['NaN', 'NaN'],
    ['-Infinity', '−∞'],
    [null, '']
  ])('%s is read as %s', (told, words) => expect(figure(told)).toBe(words));
});

describe('a time span', () => {
  it.each([
    [9960, '9.96 s'],
    [23, '23 ms'],
    [61_000, '1 min 1 s'],
    [2 * 3_600_000 + 60_000, '2 h 1 min'],
    [50 * 3_600_000, '2 d 2 h']
  ])('of %d ms is read as %s', (span, words) => expect(duration(span)).toBe(words));
});

describe('a number of bytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [25_276_502_016, '25.3 GB']
  ])('%d is read as %s', (bytes, words) => expect(size(bytes)).toBe(words));
});
