import { describe, expect, it } from 'vitest';

import type { Run } from '../../api';
import { gatheredFrom } from '../fields';
import found from '../fixtures/runs.json';
import { spotAt, suggestions } from './completion';

const RUNS = found.items as unknown as Run[];
const { facts } = gatheredFrom([RUNS]);

/** The place of the cursor is marked with `|`. */
function at(marked: string): ReturnType<typeof spotAt> {
  return spotAt(marked.replace('|', ''), marked.indexOf('|'));
}

describe('where the cursor is', () => {
  it.each([
    ['|', 'field'],
    ['met|', 'field'],
    ['params.`a b|', 'field'],
    ['metrics.auc |', 'operator'],
    ['metrics.auc >|', 'operator'],
    ['metrics.auc > |', 'value'],
    ["params.kind = 'r|", 'value'],
    ["params.kind IN ('rf', |", 'value'],
    ["params.kind NOT |", 'operator'],
    ["params.kind IS NOT NULL |", 'conjunction'],
    ['metrics.auc > 0.9 |', 'conjunction'],
    ["params.kind IN ('rf') |", 'conjunction'],
    ['metrics.auc > 0.9 AND |', 'field'],
    ["params.a = 'x' and params.b|", 'field']
  ])('%s', (marked, part) => {
    expect(at(marked).part).toBe(part);
  });
});

describe('suggestions', () => {
  const labels = (marked: string): string[] => suggestions(at(marked), facts, RUNS).map(({ label }) => label);

  it('name the fields of the runs by any part of their name', () => {
    expect(labels('au|')[0]).toBe('metrics.auc');
    expect(labels('attributes.sta|')).toEqual(['attributes.status', 'attributes.start_time']);
  });

  it('give the operators of the field', () => {
    expect(labels('metrics.auc |')).toContain('>=');
    expect(labels('params.kind |')).toContain('ILIKE');
    expect(labels('metrics.auc |')).not.toContain('LIKE');
  });

  it('give values that runs have, quoted as the grammar wants them', () => {
    expect(labels('params.kind = |').sort()).toEqual(["'gbm'", "'rf'"]);
    expect(labels("params.kind = 'g|")).toEqual(["'gbm'"]);
    expect(labels('attributes.status = |')).toContain("'FAILED'");
    const [odd] = suggestions(at('attributes.name = |'), facts, [{ ...RUNS[0], name: "it's" } as Run]);
    expect(odd?.text).toBe("'it''s' ");
  });

  it('end a condition with AND', () => {
    expect(labels('metrics.auc > 0.9 |')).toEqual(['AND']);
  });
});
