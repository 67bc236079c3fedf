/** The parts of ECharts that are used; loaded by the first chart that is shown. */
import { LineChart, ParallelChart, ScatterChart } from 'echarts/charts';
import {
  AriaComponent,
  BrushComponent,
  DataZoomComponent,
  DatasetComponent,
  GridComponent,
  LegendComponent,
  ParallelComponent,
  ToolboxComponent,
  TooltipComponent
} from 'echarts/components';
import { init, use as register } from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';

register([
  AriaComponent,
  BrushComponent,
  CanvasRenderer,
  DataZoomComponent,
  DatasetComponent,
  GridComponent,
  LegendComponent,
  LineChart,
  ParallelChart,
  ParallelComponent,
  ScatterChart,
  ToolboxComponent,
  TooltipComponent
]);

export { init };
