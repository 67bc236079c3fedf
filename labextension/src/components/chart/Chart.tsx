import type { EChartsCoreOption, EChartsType } from 'echarts/core';
import { type ReactElement, useEffect, useRef, useState } from 'react';

import { Failure } from '../Failure';
import { type Colors, colorsOf, useThemeChanges } from './colors';

export type { EChartsCoreOption, EChartsType } from 'echarts/core';

interface Props {
  /** What to draw, in the theme's colours. Keep it the same (`useCallback`) while nothing changes. */
  readonly option: (colors: Colors) => EChartsCoreOption;
  /** What it shows, for those who do not see it. */
  readonly label: string;
  /** In pixels. */
  readonly height?: number;
  /** Called with the chart when it is there: to listen to zooming and brushing. What it returns ends that. */
  readonly onReady?: (chart: EChartsType) => () => void;
}

/** A chart by ECharts, which is loaded when the first one is shown. */
export function Chart({ option, label, height = 220, onReady }: Props): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<EChartsType | null>(null);
  const [error, setError] = useState<unknown>(null);
  const theme = useThemeChanges();

  useEffect(() => {
    const element = place.current;
    if (element === null) {
      return;
    }
    let made: EChartsType | undefined;
    let isGone = false;
    const resized = new ResizeObserver(() => made?.resize());
    import('./echarts').then(
      ({ init }) => {
        if (!isGone) {
          made = init(element);
          resized.observe(element);
          setChart(made);
        }
      },
      (reason: unknown) => setError(reason)
    );
    return () => {
      isGone = true;
      resized.disconnect();
      made?.dispose();
      setChart(null);
    };
  }, []);

  useEffect(() => {
    if (chart !== null && place.current !== null) {
      const colors = colorsOf(place.current);
      chart.setOption({ ...common(colors), ...option(colors) }, { replaceMerge: ['series', 'xAxis', 'yAxis'] });
    }
  }, [chart, option, theme]);

  useEffect(() => (chart === null || onReady === undefined ? undefined : onReady(chart)), [chart, onReady]);

  if (error !== null) {
    return <Failure error={error} />;
  }
  return <div ref={place} className="jp-mlops-chart" style={{ height }} role="img" aria-label={label} />;
}

function common(colors: Colors): EChartsCoreOption {
  return {
    animation: false,
    backgroundColor: 'transparent',
    color: [...colors.series],
    textStyle: { color: colors.text, fontFamily: 'inherit' }
  };
}
