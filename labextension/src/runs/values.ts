/** The values of a run by key, found once a run. */
import type { Param, MetricSummary, Run } from '../api';

export interface Values {
  readonly params: ReadonlyMap<string, Param>;
  readonly metrics: ReadonlyMap<string, MetricSummary>;
  readonly tags: ReadonlyMap<string, string>;
}

const known = new WeakMap<Run, Values>();

export function valuesOf(run: Run): Values {
  let values = known.get(run);
  if (values === undefined) {
    const { params = [], metrics = [], tags = [] } = run;
    values = {
      params: new Map(params.map(each => [each.key, each])),
      metrics: new Map(metrics.map(each => [each.key, each])),
      tags: new Map(tags.map(each => [each.key, each.value]))
    };
    known.set(run, values);
  }
  return values;
}

/** On a sweep: the id of its best run. */
const BEST_TAG = 'mlops.sweep.best';

/** The best run of a sweep; undefined before it has ended, and where it was for no metric. */
export function bestOf(sweep: Run, children: readonly Run[]): Run | undefined {
  const best = valuesOf(sweep).tags.get(BEST_TAG);
  return best === undefined ? undefined : children.find(child => child.run_id === best);
}
