import { type ReactElement, useCallback, useEffect, useMemo, useRef, useState } from 'react';

import type { MetricSummary } from '../api';
import { Failure, Loading } from '../components';
import {
  type Axis,
  Chart,
  type Colors,
  drawn,
  type EChartsCoreOption,
  type EChartsType,
  type Point,
  type Range,
  refined,
  smoothed,
  stepsBetween
} from '../components/chart';
import { figure } from '../components/figures';
import { useTrans } from '../view';
import { useSamples } from './queries';
import { useNearView } from './useNearView';
import { useSettled } from './useSettled';

export interface Look {
  readonly axis: Axis;
  readonly isLogarithmic: boolean;
  /** From 0 to below 1. */
  readonly smoothing: number;
}

interface Props {
  readonly runId: string;
  readonly metric: MetricSummary;
  readonly look: Look;
}

/** Ranges that a history is sampled by: more than a chart has pixels across. */
const WIDTH = 800;
/** While a run logs, its charts are drawn anew this often; a pause in zooming is as long as the second. */
const LIVE_PAUSE = 1000;
const ZOOM_PAUSE = 250;

/** The history of one metric. */
export function MetricChart({ runId, metric, look }: Props): ReactElement {
  const trans = useTrans();
  const [place, isNear] = useNearView<HTMLElement>();
  const label = trans.__('%1: %2, the last value is %3', metric.key, metric.count, figure(metric.value));
  return (
    <figure ref={place} className="jp-mlops-metric" data-single={metric.count === 1 || undefined} aria-label={label}>
      <figcaption>
        <span className="jp-mlops-name" title={metric.key}>
          {metric.key}
        </span>
        <span className="jp-mlops-number">{figure(metric.value)}</span>
      </figcaption>
      {metric.count > 1 && (isNear ? <History key={look.axis} runId={runId} metric={metric} look={look} /> : <Loading />)}
    </figure>
  );
}

function History({ runId, metric: { key, value, count }, look }: Props): ReactElement {
  const trans = useTrans();
  const settled = useSettled(count, LIVE_PAUSE);
  const [zoom, setZoom] = useState<Zoom | null>(null);
  const range = useSettled(zoom?.range ?? null, ZOOM_PAUSE);
  const whole = useSamples({ runId, metric: key, count: settled, width: WIDTH });
  const isThinned = whole.data !== undefined && whole.data.length < settled;
  const part = useSamples({ runId, metric: key, count: settled, width: WIDTH, range: isThinned ? range : null });
  const points = useMemo(() => {
    const coarse = whole.data ?? [];
    return range !== null && part.data !== undefined && !part.isPlaceholderData
      ? refined(coarse, part.data, range)
      : coarse;
  }, [whole.data, part.data, part.isPlaceholderData, range]);

  const option = useCallback((colors: Colors) => lines(points, look, zoom, colors), [points, look, zoom]);
  const onReady = useZoom(points, look.axis, setZoom);

  if (whole.data === undefined) {
    return whole.error === null ? (
      <Loading />
    ) : (
      <Failure error={whole.error} onRetry={() => void whole.refetch()} />
    );
  }
  return (
    <>
      <Chart option={option} label={trans.__('%1 along its %2 points', key, count)} onReady={onReady} />
      {part.error !== null && <Failure error={part.error} onRetry={() => void part.refetch()} />}
      <p className="jp-mlops-hidden">{trans.__('The last value is %1.', figure(value))}</p>
    </>
  );
}

/** What is seen of a chart, in the x axis' unit, and the steps that it stands for. */
interface Zoom {
  readonly from: number;
  readonly to: number;
  readonly range: Range | null;
}

interface DataZoom {
  readonly start?: number;
  readonly end?: number;
  readonly startValue?: number;
  readonly endValue?: number;
}

/** Listens to zooming. */
function useZoom(
  points: readonly Point[],
  axis: Axis,
  onZoom: (zoom: Zoom | null) => void
): (chart: EChartsType) => () => void {
  const latest = useRef(points);
  useEffect(() => {
    latest.current = points;
  }, [points]);
  return useCallback(
    chart => {
      const zoomed = (): void => {
        const { start = 0, end = 100, startValue, endValue } = (chart.getOption() as { dataZoom: DataZoom[] }).dataZoom[0] ?? {};
        if ((start <= 0 && end >= 100) || startValue === undefined || endValue === undefined) {
          onZoom(null);
        } else {
          const range = stepsBetween(latest.current, axis, startValue, endValue);
          onZoom({ from: startValue, to: endValue, range });
        }
      };
      chart.on('datazoom', zoomed);
      return () => {
        chart.off('datazoom', zoomed);
      };
    },
    [axis, onZoom]
  );
}

function lines(points: readonly Point[], look: Look, zoom: Zoom | null, colors: Colors): EChartsCoreOption {
  const { axis, isLogarithmic, smoothing } = look;
  const line = drawn(points, axis, isLogarithmic);
  const common = { type: 'line', showSymbol: line.length < 60, symbolSize: 4, silent: true };
  const axes = { axisLine: { lineStyle: { color: colors.line } }, axisLabel: { color: colors.faint, hideOverlap: true } };
  return {
    grid: { left: 8, right: 12, top: 8, bottom: 44, containLabel: true },
    // Text that ECharts draws, never HTML.
    tooltip: { trigger: 'axis', renderMode: 'richText', confine: true },
    xAxis: {
      type: axis === 'time' ? 'time' : 'value',
      min: 'dataMin',
      max: 'dataMax',
      splitLine: { show: false },
      ...axes
    },
    yAxis: {
      type: isLogarithmic ? 'log' : 'value',
      scale: true,
      splitLine: { lineStyle: { color: colors.line, opacity: 0.5 } },
      ...axes
    },
    dataZoom: [
      // Turning the wheel alone scrolls the page.
      { type: 'inside', zoomOnMouseWheel: 'ctrl', filterMode: 'filter', ...shown(zoom) },
      { type: 'slider', height: 18, bottom: 6, borderColor: colors.line, showDataShadow: false, showDetail: false, brushSelect: false, textStyle: { color: colors.faint }, ...shown(zoom) }
    ],
    series:
      smoothing > 0
        ? [
            { ...common, data: line, lineStyle: { width: 1, opacity: 0.3 }, itemStyle: { color: colors.series[0] }, showSymbol: false },
            { ...common, data: smoothed(line, smoothing), lineStyle: { width: 2 }, itemStyle: { color: colors.series[0] } }
          ]
        : [{ ...common, data: line, lineStyle: { width: 1.5 }, itemStyle: { color: colors.series[0] } }]
  };
}

function shown(zoom: Zoom | null): DataZoom {
  return zoom === null ? { start: 0, end: 100 } : { startValue: zoom.from, endValue: zoom.to };
}
