import { type ReactElement, useCallback, useState } from 'react';

import { Chart, type Colors, type EChartsCoreOption, type EChartsType } from '../chart';
import { figure } from '../figures';
import { useTrans } from '../../view/host';
import { blended } from './blended';
import type { Dimension } from './dimensions';

interface Props {
  readonly dimensions: readonly Dimension[];
  readonly names: readonly string[];
  /** The runs, by their places, in the rectangle that is drawn; null when none is. */
  readonly onBrush: (runs: ReadonlySet<number> | null) => void;
}

interface BrushSelected {
  readonly batch?: readonly { readonly areas?: readonly unknown[]; readonly selected?: readonly { readonly dataIndex?: readonly number[] }[] }[];
}

/** Every run a point, by two things that differ; a rectangle keeps the runs in it. */
export function Scatter({ dimensions, names, onBrush }: Props): ReactElement {
  const trans = useTrans();
  const [across, setAcross] = useState(() => (dimensions.find(each => each.group === 'params') ?? dimensions[0])?.id ?? '');
  const [up, setUp] = useState(() => (dimensions.find(each => each.group === 'metrics') ?? dimensions.at(-1))?.id ?? '');
  const [colour, setColour] = useState('');
  const find = (id: string): Dimension | undefined => dimensions.find(each => each.id === id);
  const [x, y, shade] = [find(across), find(up), find(colour)];
  const option = useCallback(
    (colors: Colors) => (x === undefined || y === undefined ? {} : scatter(x, y, shade, names, colors)),
    [x, y, shade, names]
  );
  const onReady = useCallback(
    (chart: EChartsType) => {
      const selected = (event: unknown): void => {
        const [batch] = (event as BrushSelected).batch ?? [];
        const isDrawn = (batch?.areas ?? []).length > 0;
        onBrush(isDrawn ? new Set(batch?.selected?.[0]?.dataIndex) : null);
      };
      const draw = (): void =>
        chart.dispatchAction({
          type: 'takeGlobalCursor',
          key: 'brush',
          brushOption: { brushType: 'rect', brushMode: 'single' }
        });
      chart.on('brushSelected', selected);
      // The option comes after the chart.
      const timer = window.setTimeout(draw);
      return () => {
        window.clearTimeout(timer);
        chart.off('brushSelected', selected);
        onBrush(null);
      };
    },
    [onBrush]
  );
  const choice = (label: string, value: string, set: (id: string) => void, isOptional = false): ReactElement => (
    <label>
      {label}{' '}
      <select className="jp-mlops-select" value={value} onChange={event => set(event.target.value)}>
        {isOptional && <option value="">{trans.__('none')}</option>}
        {dimensions.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <figure className="jp-mlops-spread">
      <figcaption>
        <h2>{trans.__('Scatter')}</h2>
        {choice(trans.__('Across'), across, setAcross)}
        {choice(trans.__('Up'), up, setUp)}
        {choice(trans.__('Colour'), colour, setColour, true)}
        <span className="jp-mlops-hint">{trans.__('Draw a rectangle to keep the runs in it.')}</span>
      </figcaption>
      <Chart
        option={option}
        label={trans.__('%1 runs by %2 and %3; the table below has the values', names.length, x?.name ?? '', y?.name ?? '')}
        height={300}
        onReady={onReady}
      />
    </figure>
  );
}

function scatter(
  x: Dimension,
  y: Dimension,
  colour: Dimension | undefined,
  names: readonly string[],
  colors: Colors
): EChartsCoreOption {
  const shade = blended(colour, colors);
  const axis = ({ name, words }: Dimension): object => ({
    name,
    nameLocation: 'middle',
    nameGap: 30,
    type: words === null ? 'value' : 'category',
    data: words ?? undefined,
    scale: true,
    nameTextStyle: { color: colors.text },
    axisLine: { lineStyle: { color: colors.line } },
    axisLabel: { color: colors.faint, hideOverlap: true, ...(words === null ? { formatter: figure } : {}) },
    splitLine: { lineStyle: { color: colors.line, opacity: 0.5 } }
  });
  return {
    grid: { left: 40, right: 24, top: 16, bottom: 40, containLabel: true },
    // Text that ECharts draws, never HTML.
    tooltip: { renderMode: 'richText', confine: true },
    brush: {
      xAxisIndex: 0,
      yAxisIndex: 0,
      brushStyle: { color: 'rgba(128, 128, 128, 0.15)', borderColor: colors.faint },
      outOfBrush: { colorAlpha: 0.15 },
      throttleType: 'debounce',
      throttleDelay: 100
    },
    toolbox: { show: false },
    xAxis: axis(x),
    yAxis: axis(y),
    series: [
      {
        type: 'scatter',
        symbolSize: 9,
        data: names.map((name, run) => ({
          name,
          value: [x.values[run] ?? '-', y.values[run] ?? '-'],
          itemStyle: { color: colour === undefined ? colors.series[0] : shade(run), opacity: 0.8 }
        }))
      }
    ]
  };
}
