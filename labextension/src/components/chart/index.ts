export { Chart, type EChartsCoreOption, type EChartsType } from './Chart';
export type { Colors } from './colors';
export { type Axis, drawn, type Point, type Range, refined, smoothed, stepsBetween } from './samples';
