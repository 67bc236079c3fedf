/** The lines of the table: runs, and below a sweep that is unfolded its own. */
import { useQueries } from '@tanstack/react-query';
import { useMemo } from 'react';

import { answered, type Run } from '../api';
import { useApi } from '../view';

/** Runs whose children are asked for at once. */
export const CHUNK = 100;
const MOST_CHILDREN = 2000;
const NONE: readonly Run[] = [];

export interface Line {
  readonly run: Run;
  /** 0, or 1 for a run below its sweep. */
  readonly level: number;
  /** The runs that belong to it, oldest first, as far as they are known. */
  readonly children: readonly Run[];
  /** Undefined for a run that none belong to. */
  readonly isExpanded: boolean | undefined;
}

interface Lines {
  readonly lines: readonly Line[];
  /** All that is known of what belongs to the runs. */
  readonly children: readonly Run[];
}

interface Window {
  readonly first: number;
  readonly last: number;
}

/**
 * The lines of `runs`. With `isFolded`, `runs` are those without a parent, and what belongs to those in the window (by
 * their places) is asked for.
 */
export function useLines(runs: readonly Run[], isFolded: boolean, expanded: ReadonlySet<string>, window: Window): Lines {
  const { v1 } = useApi();
  const chunks: string[][] = [];
  if (isFolded) {
    for (let at = Math.floor(window.first / CHUNK) * CHUNK; at <= window.last && at < runs.length; at += CHUNK) {
      chunks.push(runs.slice(at, at + CHUNK).map(run => run.run_id));
    }
  }
  const families = useQueries({
    queries: chunks.map(ids => ({
      queryKey: ['runs', 'children', ids],
      queryFn: () =>
        answered(
          v1.POST('/search/runs', {
            body: {
              filter: `attributes.parent_run_id IN (${ids.map(id => `'${id}'`).join(', ')})`,
              order_by: ['attributes.start_time ASC'],
              limit: MOST_CHILDREN
            }
          })
        )
    })),
    combine: results => results.flatMap(result => result.data?.items ?? NONE)
  });
  // All of them, where the chunk may have been cut.
  const opened = useQueries({
    queries: [...expanded].map(runId => ({
      queryKey: ['runs', 'children', runId],
      queryFn: () => answered(v1.GET('/runs/{run_id}/children', { params: { path: { run_id: runId } } }))
    })),
    combine: results => results.flatMap(result => result.data ?? NONE)
  });
  return useMemo(() => {
    const byParent = grouped(families);
    for (const [parent, children] of grouped(opened)) {
      byParent.set(parent, children);
    }
    return { lines: linesOf(runs, isFolded ? byParent : null, expanded), children: families };
  }, [runs, isFolded, expanded, families, opened]);
}

function grouped(runs: readonly Run[]): Map<string, Run[]> {
  const found = new Map<string, Run[]>();
  for (const run of runs) {
    const parent = run.parent_run_id ?? '';
    const siblings = found.get(parent);
    if (siblings === undefined) {
      found.set(parent, [run]);
    } else {
      siblings.push(run);
    }
  }
  return found;
}

/** A line that is as it was is the same object as before, so that it is not drawn again. */
const made = new WeakMap<Run, Line>();

/** `byParent` null: every run is a line by itself. */
export function linesOf(
  runs: readonly Run[],
  byParent: ReadonlyMap<string, readonly Run[]> | null,
  expanded: ReadonlySet<string>
): Line[] {
  const lines: Line[] = [];
  const add = (run: Run, level: number): void => {
    const children = byParent?.get(run.run_id) ?? NONE;
    const hasChildren = byParent !== null && (children.length > 0 || run.kind === 'sweep');
    const isExpanded = hasChildren ? expanded.has(run.run_id) : undefined;
    let line = made.get(run);
    if (line?.level !== level || line.isExpanded !== isExpanded || !areSame(line.children, children)) {
      line = { run, level, children, isExpanded };
      made.set(run, line);
    }
    lines.push(line);
    if (isExpanded === true) {
      children.forEach(child => add(child, level + 1));
    }
  };
  runs.forEach(run => add(run, 0));
  return lines;
}

function areSame(one: readonly Run[], other: readonly Run[]): boolean {
  return one.length === other.length && one.every((run, index) => run === other[index]);
}
