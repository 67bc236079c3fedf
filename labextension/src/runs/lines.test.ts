import { describe, expect, it } from 'vitest';

import type { Run } from '../api';
import children from './fixtures/children.json';
import found from './fixtures/runs.json';
import { linesOf } from './lines';

const RUNS = found.items as unknown as Run[];
const CHILDREN = children.items as unknown as Run[];
const SWEEP = sweepOf(RUNS);
const FAMILIES = new Map([[SWEEP.run_id, CHILDREN]]);

describe('lines', () => {
  it('fold the runs of a sweep into one', () => {
    const lines = linesOf(RUNS, FAMILIES, new Set());
    expect(lines).toHaveLength(RUNS.length);
    expect(lines.find(line => line.run === SWEEP)).toMatchObject({ isExpanded: false, children: CHILDREN });
    expect(lines.find(line => line.run.kind !== 'sweep')?.isExpanded).toBeUndefined();
  });

  it('show them below it when it is unfolded', () => {
    const lines = linesOf(RUNS, FAMILIES, new Set([SWEEP.run_id]));
    const at = lines.findIndex(line => line.run === SWEEP);
    expect(lines.slice(at + 1, at + 1 + CHILDREN.length).map(({ run, level }) => [run, level])).toEqual(
      CHILDREN.map(run => [run, 1])
    );
  });

  it('are the same objects while nothing of them changes', () => {
    const [before, after] = [linesOf(RUNS, FAMILIES, new Set()), linesOf(RUNS, new Map(FAMILIES), new Set())];
    expect(after.every((line, index) => line === before[index])).toBe(true);
  });
});

function sweepOf(runs: readonly Run[]): Run {
  const found = runs.find(run => run.kind === 'sweep');
  if (found === undefined) {
    throw new Error('the recorded runs have no sweep');
  }
  return found;
}
