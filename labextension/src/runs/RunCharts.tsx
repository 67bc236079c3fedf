import { type ReactElement, useCallback, useMemo } from 'react';

import type { Run } from '../api';
import { Empty } from '../components';
import { Overlay } from '../components/chart/Overlay';
import { Parallel, Scatter } from '../components/spread';
import { useTrans } from '../view';
import { type Gathered, isSystems } from './fields';
import { dimensionsOf } from './spread';

/** Runs whose histories may be asked for. */
const MOST_OVERLAID = 100;
/** Fewer are seen at a glance in the table. */
const FEWEST_PARALLEL = 8;

interface Props {
  readonly runs: readonly Run[];
  readonly gathered: Gathered;
  /** Those whose metrics are drawn along their steps; the first ones when there are none. */
  readonly selected: readonly Run[];
  readonly onSelect: (runIds: ReadonlySet<string>) => void;
}

/** Runs on charts instead of in rows: what is drawn around some selects them. */
export function RunCharts({ runs, gathered, selected, onSelect }: Props): ReactElement {
  const trans = useTrans();
  const single = useMemo(() => runs.filter(run => run.kind !== 'sweep'), [runs]);
  const dimensions = useMemo(() => dimensionsOf(single, gathered), [single, gathered]);
  const names = useMemo(() => single.map(run => run.name), [single]);
  const metrics = useMemo(
    () =>
      [...gathered.facts.values()]
        .filter(({ kind, key }) => kind === 'metrics' && !isSystems(kind, key))
        .map(({ key }) => key),
    [gathered]
  );
  const brush = useCallback(
    (places: ReadonlySet<number> | null) => {
      // What was selected stays when the drawing goes, also with the charts themselves.
      if (places !== null) {
        onSelect(new Set(single.filter((_, place) => places.has(place)).map(run => run.run_id)));
      }
    },
    [single, onSelect]
  );
  const overlaid = (selected.length > 0 ? selected : single).filter(run => run.kind !== 'sweep').slice(0, MOST_OVERLAID);
  return (
    <div className="jp-mlops-runs-charts">
      {dimensions.length > 1 ? (
        <>
          <Scatter dimensions={dimensions} names={names} onBrush={brush} />
          {single.length >= FEWEST_PARALLEL && <Parallel dimensions={dimensions} names={names} onBrush={brush} />}
        </>
      ) : (
        <Empty>{trans.__('No two parameters or metrics of these runs differ, so there is nothing to set against each other.')}</Empty>
      )}
      <Overlay runs={overlaid} metrics={metrics} />
    </div>
  );
}
