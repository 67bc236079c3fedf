import { describe, expect, it } from 'vitest';

import type { Comparison } from '../api';
import { mixed } from '../components/spread/blended';
import comparison from './fixtures/comparison.json';
import { within } from '../components/spread/Parallel';
import { differs, dimensions } from './rows';

const COMPARISON = comparison as unknown as Comparison;

describe('what runs are spread over', () => {
  const spread = dimensions(COMPARISON);

  it('is what differs of their parameters and metrics', () => {
    const named = spread.map(({ id }) => id);
    expect(named).toEqual(expect.arrayContaining(['params.depth', 'metrics.auc']));
    expect(named).not.toContain('params.seed');
    expect(COMPARISON.rows.find(row => row.name === 'seed')).toSatisfy(row => !differs(row as Comparison['rows'][number]));
  });

  it('has words in their order, and numbers as numbers', () => {
    expect(spread.find(({ id }) => id === 'params.kind')).toMatchObject({ words: ['gbm', 'rf'] });
    expect(spread.find(({ id }) => id === 'params.depth')).toMatchObject({ words: null, values: [3, 5, 9] });
  });

  it('is narrowed by the ranges that are chosen on axes', () => {
    const chosen = new Map([['params.depth', [[4, 6], [8.5, 10]] as const]]);
    expect([...within(spread, chosen, 3)]).toEqual([1, 2]);
    expect([...within(spread, new Map(), 3)]).toEqual([0, 1, 2]);
  });
});

describe('colours', () => {
  it('are mixed by share', () => {
    expect(mixed('#000000', '#ff8800', 0.5)).toBe('rgb(128, 68, 0)');
  });
});
