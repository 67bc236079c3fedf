/** Runs side by side: what differs, how their metrics went, what goes with what. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, type ReactElement, Suspense, useCallback, useEffect, useMemo, useState } from 'react';

import { answered, changedRuns, type Comparison, type Happening } from '../api';
import { Failure, Loading } from '../components';
import { Overlay } from '../components/chart/Overlay';
import { ShareMenu } from '../components/ShareMenu';
import { Parallel, Scatter } from '../components/spread';
import { codeOfComparison } from '../runs/code';
import { type CompareAddress, useApi, useEvents, useTrans } from '../view';
import { Compared } from './Compared';
import { Differences } from './Differences';
import { differs, dimensions } from './rows';

const NotebookChanges = lazy(async () => ({ default: (await import('./NotebookChanges')).NotebookChanges }));

/** How long happenings are collected before the runs are compared again. */
const PAUSE = 1500;
/** Fewer runs are seen at a glance in the table. */
const FEWEST_SCATTERED = 3;
const FEWEST_PARALLEL = 8;
const SYSTEM = 'system/';

export function CompareView({ runIds }: CompareAddress): ReactElement {
  const { v1 } = useApi();
  const trans = useTrans();
  const key = useMemo(() => ['comparison', runIds], [runIds]);
  const comparison = useQuery({
    queryKey: key,
    queryFn: () => answered(v1.POST('/compare', { body: { run_ids: [...runIds] } }))
  });
  useLive(runIds, key);
  if (comparison.data === undefined) {
    return comparison.error === null ? (
      <Loading label={trans._n('Comparing %1 run…', 'Comparing %1 runs…', runIds.length)} />
    ) : (
      <Failure error={comparison.error} onRetry={() => void comparison.refetch()} />
    );
  }
  return (
    <div className="jp-mlops-compare">
      <Parts comparison={comparison.data} runIds={runIds} />
    </div>
  );
}

function Parts({ comparison, runIds }: { readonly comparison: Comparison; readonly runIds: readonly string[] }): ReactElement {
  const trans = useTrans();
  const [isComplete, setComplete] = useState(false);
  const [isDiffed, setDiffed] = useState(false);
  const [brushed, setBrushed] = useState<Brushed>({});
  const { runs } = comparison;
  const spread = useMemo(() => dimensions(comparison), [comparison]);
  const names = useMemo(() => runs.map(run => run.name), [runs]);
  const metrics = useMemo(
    () => comparison.rows.filter(row => row.group === 'metrics' && !row.name.startsWith(SYSTEM)).map(row => row.name),
    [comparison]
  );
  const onParallel = useCallback((parallel: ReadonlySet<number> | null) => setBrushed(now => ({ ...now, parallel })), []);
  const onScatter = useCallback((scatter: ReadonlySet<number> | null) => setBrushed(now => ({ ...now, scatter })), []);
  const kept = useMemo(
    () => runs.filter((_, run) => (brushed.parallel?.has(run) ?? true) && (brushed.scatter?.has(run) ?? true)),
    [runs, brushed]
  );
  const [first, second] = runIds;
  const hasNotebooks = comparison.rows.some(row => row.group === 'run' && row.name === 'notebook' && differs(row));
  return (
    <>
      <header className="jp-mlops-runs-head">
        <h1>{trans._n('%1 run', '%1 runs side by side', runs.length)}</h1>
        <label>
          <input type="checkbox" checked={isComplete} onChange={event => setComplete(event.target.checked)} />{' '}
          {trans.__('Also what is the same')}
        </label>
        <ShareMenu address={{ view: 'compare', runIds }} code={codeOfComparison(runIds)} />
      </header>
      <Differences comparison={comparison} isComplete={isComplete} />
      {runs.length === 2 && first !== undefined && second !== undefined && hasNotebooks && (
        <section>
          <h2>{trans.__('Notebooks')}</h2>
          {isDiffed ? (
            <Suspense fallback={<Loading />}>
              <NotebookChanges runId={first} other={second} />
            </Suspense>
          ) : (
            <button type="button" className="jp-mlops-button" onClick={() => setDiffed(true)}>
              {trans.__('Show how the code differs')}
            </button>
          )}
        </section>
      )}
      <Overlay runs={kept} metrics={metrics} />
      {runs.length >= FEWEST_PARALLEL && spread.length > 1 && (
        <Parallel dimensions={spread} names={names} onBrush={onParallel} />
      )}
      {runs.length >= FEWEST_SCATTERED && spread.length > 1 && (
        <Scatter dimensions={spread} names={names} onBrush={onScatter} />
      )}
      <Compared runs={kept} total={runs.length} />
    </>
  );
}

interface Brushed {
  readonly parallel?: ReadonlySet<number> | null;
  readonly scatter?: ReadonlySet<number> | null;
}

/** Compares again when something happened to one of the runs, or to so many that each may be among them. */
function useLive(runIds: readonly string[], key: readonly unknown[]): void {
  const events = useEvents();
  const client = useQueryClient();
  useEffect(() => {
    const wanted = new Set(runIds);
    let timer: number | undefined;
    const told = (_: unknown, news: readonly Happening[]): void => {
      if (news.some(happening => wanted.has(happening.target) || changedRuns(happening))) {
        timer ??= window.setTimeout(() => {
          timer = undefined;
          void client.invalidateQueries({ queryKey: key });
        }, PAUSE);
      }
    };
    events.happened.connect(told);
    return () => {
      events.happened.disconnect(told);
      window.clearTimeout(timer);
    };
  }, [events, client, key, runIds]);
}
