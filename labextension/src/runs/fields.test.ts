import { describe, expect, it } from 'vitest';

import type { Run } from '../api';
import { chosen, isConstant, NO_CHOICE } from './choice';
import { fieldName, gatheredFrom } from './fields';
import children from './fixtures/children.json';
import found from './fixtures/runs.json';

const RUNS = found.items as unknown as Run[];
const CHILDREN = children.items as unknown as Run[];

describe('what runs have', () => {
  const gathered = gatheredFrom([RUNS, CHILDREN]);

  it('is gathered from those that executed something', () => {
    expect(gathered.runs).toBe(RUNS.length - 1 + CHILDREN.length);
    expect(gathered.facts.get('params.seed')?.count).toBe(gathered.runs);
  });

  it('is said once when it is the same in all, and is no column then', () => {
    expect(isConstant('params.seed', gathered)).toBe(true);
    expect(isConstant('params.lr', gathered)).toBe(false);
    const columns = chosen(gathered, NO_CHOICE);
    expect(columns).toEqual(expect.arrayContaining(['params.lr', 'params.depth', 'metrics.auc', 'metrics.loss']));
    expect(columns).not.toContain('params.seed');
    expect(columns).not.toContain('tags.`mlops.sweep.point`');
  });

  it('is shown as was chosen', () => {
    const columns = chosen(gathered, { ...NO_CHOICE, shown: { 'params.seed': true, 'metrics.loss': false } });
    expect(columns).toContain('params.seed');
    expect(columns).not.toContain('metrics.loss');
  });

  it('tells numbers from words', () => {
    expect(gathered.facts.get('params.lr')?.isNumber).toBe(true);
    expect(gathered.facts.get('params.kind')?.isNumber).toBe(false);
  });
});

describe('a name of a field', () => {
  it('is quoted where a filter would read something else', () => {
    expect(fieldName('metrics', 'val/auc-2')).toBe('metrics.val/auc-2');
    expect(fieldName('params', "my `key`")).toBe('params.`my ``key```');
  });
});
