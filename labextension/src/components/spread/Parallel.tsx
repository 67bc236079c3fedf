import { type ReactElement, useCallback, useMemo, useState } from 'react';

import { Chart, type Colors, type EChartsCoreOption, type EChartsType } from '../chart';
import { figure } from '../figures';
import { useTrans } from '../../view/host';
import { blended } from './blended';
import { type Dimension, position } from './dimensions';

/** Axes that are told apart side by side. */
const MOST_AXES = 12;

interface Props {
  readonly dimensions: readonly Dimension[];
  readonly names: readonly string[];
  /** The runs, by their places, within the ranges that are chosen on the axes; null when none is. */
  readonly onBrush: (runs: ReadonlySet<number> | null) => void;
}

type Interval = readonly [number, number];

interface AxisSelected {
  readonly parallelAxisId?: string;
  readonly intervals?: readonly Interval[];
}

/** Every run a line across what differs; a range dragged on an axis keeps the runs in it. */
export function Parallel({ dimensions, names, onBrush }: Props): ReactElement {
  const trans = useTrans();
  const axes = useMemo(() => bestAxes(dimensions), [dimensions]);
  const [colour, setColour] = useState(() => axes.filter(each => each.group === 'metrics').at(-1)?.id ?? axes.at(-1)?.id ?? '');
  const option = useCallback(
    (colors: Colors) => parallel(axes, names, axes.find(each => each.id === colour), colors),
    [axes, names, colour]
  );
  const onReady = useCallback(
    (chart: EChartsType) => {
      const chosen = new Map<string, readonly Interval[]>();
      const selected = (event: unknown): void => {
        const { parallelAxisId = '', intervals = [] } = event as AxisSelected;
        if (intervals.length === 0) {
          chosen.delete(parallelAxisId);
        } else {
          chosen.set(parallelAxisId, intervals);
        }
        onBrush(chosen.size === 0 ? null : within(axes, chosen, names.length));
      };
      chart.on('axisareaselected', selected);
      return () => {
        chart.off('axisareaselected', selected);
        onBrush(null);
      };
    },
    [axes, names, onBrush]
  );
  return (
    <figure className="jp-mlops-spread">
      <figcaption>
        <h2>{trans.__('Parallel coordinates')}</h2>
        <label>
          {trans.__('Colour')}{' '}
          <select className="jp-mlops-select" value={colour} onChange={event => setColour(event.target.value)}>
            {axes.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <span className="jp-mlops-hint">{trans.__('Drag along an axis to keep the runs in that range.')}</span>
      </figcaption>
      <Chart
        option={option}
        label={trans.__('%1 runs across %2 axes; the table below has the values', names.length, axes.length)}
        height={300}
        onReady={onReady}
      />
    </figure>
  );
}

/** Parameters first, then metrics, as many as fit. */
function bestAxes(dimensions: readonly Dimension[]): Dimension[] {
  const metrics = dimensions.filter(each => each.group === 'metrics').slice(0, MOST_AXES / 2);
  const params = dimensions.filter(each => each.group === 'params').slice(0, MOST_AXES - metrics.length);
  return [...params, ...metrics];
}

/** The runs that are in a chosen range of each axis that has one. */
export function within(
  axes: readonly Dimension[],
  chosen: ReadonlyMap<string, readonly Interval[]>,
  runs: number
): Set<number> {
  const isIn = (run: number, axis: Dimension, intervals: readonly Interval[]): boolean => {
    const at = position(axis, axis.values[run] ?? null);
    return at !== null && intervals.some(([from, to]) => at >= from && at <= to);
  };
  const all = Array.from({ length: runs }, (_, run) => run);
  return new Set(
    all.filter(run =>
      axes.every(axis => {
        const intervals = chosen.get(axis.id);
        return intervals === undefined || isIn(run, axis, intervals);
      })
    )
  );
}

function parallel(
  axes: readonly Dimension[],
  names: readonly string[],
  colour: Dimension | undefined,
  colors: Colors
): EChartsCoreOption {
  const shade = blended(colour, colors);
  return {
    parallel: { left: 40, right: 60, top: 40, bottom: 24 },
    tooltip: { renderMode: 'richText', confine: true },
    parallelAxis: axes.map((axis, dim) => ({
      id: axis.id,
      dim,
      name: axis.name,
      type: axis.words === null ? 'value' : 'category',
      data: axis.words ?? undefined,
      scale: true,
      nameTextStyle: { color: colors.text, width: 110, overflow: 'truncate' },
      nameGap: 14,
      axisLine: { lineStyle: { color: colors.faint } },
      axisLabel: { color: colors.faint, ...(axis.words === null ? { formatter: figure } : { interval: 0 }) },
      areaSelectStyle: { color: colors.series[1], opacity: 0.25 }
    })),
    series: [
      {
        type: 'parallel',
        lineStyle: { width: 1.5, opacity: 0.7 },
        inactiveOpacity: 0.06,
        activeOpacity: 0.9,
        smooth: false,
        data: names.map((name, run) => ({
          name,
          value: axes.map(axis => axis.values[run] ?? '-'),
          lineStyle: { color: shade(run) }
        }))
      }
    ]
  };
}
