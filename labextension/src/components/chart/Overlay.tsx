import { useQueries } from '@tanstack/react-query';
import { type ReactElement, useCallback, useState } from 'react';

import { answered, type Run, useApi } from '../../api';
import { useTrans } from '../../view/host';
import { Failure } from '../Failure';
import { Loading } from '../Loading';
import { Chart, type EChartsCoreOption } from './Chart';
import type { Colors } from './colors';
import { type Axis, drawn, type Point, smoothed } from './samples';

const WIDTH = 400;
/** Lines that are told apart in one chart; more only when asked for. */
const FEW = 20;
const DASHES = ['solid', 'dashed', 'dotted'] as const;

interface Props {
  readonly runs: readonly Run[];
  readonly metrics: readonly string[];
}

interface Look {
  readonly axis: Axis;
  readonly isLogarithmic: boolean;
  readonly smoothing: number;
}

/** The histories of one metric in all runs, in one chart. */
export function Overlay({ runs, metrics }: Props): ReactElement | null {
  const { v1 } = useApi();
  const trans = useTrans();
  // What has a history is worth a chart.
  const first = metrics.find(key => runs.some(run => run.metrics?.some(each => each.key === key && each.count > 1)));
  const [chosen, setChosen] = useState<string | null>(null);
  const [look, setLook] = useState<Look>({ axis: 'step', isLogarithmic: false, smoothing: 0 });
  const [isAll, setAll] = useState(false);
  const metric = chosen !== null && metrics.includes(chosen) ? chosen : (first ?? metrics[0] ?? '');
  const having = runs.filter(run => run.metrics?.some(each => each.key === metric));
  const shown = isAll ? having : having.slice(0, FEW);
  const histories = useQueries({
    queries: shown.map(run => {
      const count = run.metrics?.find(each => each.key === metric)?.count ?? 0;
      return {
        // Of no noun that events make old; it is read again when it has grown.
        queryKey: ['samples', run.run_id, metric, WIDTH, null, count],
        queryFn: () =>
          answered(
            v1.GET('/runs/{run_id}/sampled', {
              params: { path: { run_id: run.run_id }, query: { key: metric, width: WIDTH } }
            })
          ) as Promise<unknown> as Promise<readonly Point[]>
      };
    }),
    combine: results => ({
      points: results.map(result => result.data),
      error: results.find(result => result.error !== null)?.error ?? null,
      isLoading: results.some(result => result.isLoading)
    })
  });
  const { points } = histories;
  const option = useCallback((colors: Colors) => overlaid(shown, points, look, colors), [shown, points, look]);
  if (metrics.length === 0) {
    return null;
  }
  return (
    <figure className="jp-mlops-spread">
      <figcaption>
        <h2>{trans.__('Metrics')}</h2>
        <label>
          {trans.__('Metric')}{' '}
          <select className="jp-mlops-select" value={metric} onChange={event => setChosen(event.target.value)}>
            {metrics.map(key => (
              <option key={key}>{key}</option>
            ))}
          </select>
        </label>
        <label>
          {trans.__('Along')}{' '}
          <select
            className="jp-mlops-select"
            value={look.axis}
            onChange={event => setLook({ ...look, axis: event.target.value as Axis })}
          >
            <option value="step">{trans.__('steps')}</option>
            <option value="time">{trans.__('time since the start')}</option>
          </select>
        </label>
        <label>
          <input
            type="checkbox"
            checked={look.isLogarithmic}
            onChange={event => setLook({ ...look, isLogarithmic: event.target.checked })}
          />{' '}
          {trans.__('logarithmic')}
        </label>
        <label>
          {trans.__('Smoothing')}{' '}
          <input
            type="range"
            min={0}
            max={0.98}
            step={0.02}
            value={look.smoothing}
            onChange={event => setLook({ ...look, smoothing: Number(event.target.value) })}
          />
        </label>
        {having.length > FEW && (
          <button type="button" className="jp-mlops-link" onClick={() => setAll(!isAll)}>
            {isAll ? trans.__('Show %1 only', FEW) : trans.__('Show all %1', having.length)}
          </button>
        )}
      </figcaption>
      {histories.error !== null ? (
        <Failure error={histories.error} />
      ) : histories.isLoading ? (
        <Loading />
      ) : (
        <Chart option={option} label={trans.__('%1 of %2 runs', metric, shown.length)} height={300} />
      )}
    </figure>
  );
}

function overlaid(
  runs: readonly Run[],
  histories: readonly (readonly Point[] | undefined)[],
  { axis, isLogarithmic, smoothing }: Look,
  colors: Colors
): EChartsCoreOption {
  const label = { color: colors.faint, hideOverlap: true };
  return {
    grid: { left: 8, right: 12, top: 28, bottom: 8, containLabel: true },
    // Text that ECharts draws, never HTML.
    tooltip: { trigger: 'axis', renderMode: 'richText', confine: true, order: 'valueDesc' },
    legend: { type: 'scroll', top: 0, textStyle: { color: colors.text }, pageTextStyle: { color: colors.text } },
    xAxis: {
      type: 'value',
      min: 'dataMin',
      max: 'dataMax',
      splitLine: { show: false },
      axisLabel: axis === 'time' ? { ...label, formatter: (seconds: number) => `${seconds} s` } : label
    },
    yAxis: {
      type: isLogarithmic ? 'log' : 'value',
      scale: true,
      axisLabel: label,
      splitLine: { lineStyle: { color: colors.line, opacity: 0.5 } }
    },
    dataZoom: [{ type: 'inside', zoomOnMouseWheel: 'ctrl' }],
    series: runs.map((run, index) => {
      const line = drawn(histories[index] ?? [], axis, isLogarithmic).map(([x, y]): [number, number | null] => [
        axis === 'time' ? (x - run.start_time) / 1000 : x,
        y
      ]);
      return {
        type: 'line',
        id: run.run_id,
        name: run.name,
        showSymbol: line.length === 1,
        data: smoothing > 0 ? smoothed(line, smoothing) : line,
        // When the colours are used up, lines of the same one are dashed otherwise.
        lineStyle: { width: 1.5, type: DASHES[Math.floor(index / colors.series.length) % DASHES.length] },
        emphasis: { focus: 'series' }
      };
    })
  };
}
