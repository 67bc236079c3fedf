import { type ReactElement, useId, useState } from 'react';

import type { Run } from '../api';
import { Empty } from '../components';
import type { Axis } from '../components/chart';
import { useTrans } from '../view';
import { type Look, MetricChart } from './MetricChart';
import { SYSTEM } from './tags';

/** A chart a metric. */
export function Charts({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const [look, setLook] = useState<Look>({ axis: 'step', isLogarithmic: false, smoothing: 0 });
  const [filter, setFilter] = useState('');
  const metrics = (run.metrics ?? []).filter(({ key }) => !key.startsWith(SYSTEM));
  if (metrics.length === 0) {
    return <Empty>{trans.__('No metrics yet. In a notebook: mlops.log_metric("loss", value, step=epoch).')}</Empty>;
  }
  const shown = metrics
    .filter(({ key }) => key.toLowerCase().includes(filter.toLowerCase()))
    // What has one value only needs no chart, and stands first.
    .sort((one, other) => Number(one.count > 1) - Number(other.count > 1));
  return (
    <>
      <Looks look={look} onChange={setLook}>
        {metrics.length > 6 && (
          <input
            type="search"
            aria-label={trans.__('Filter metrics')}
            placeholder={trans.__('Filter…')}
            value={filter}
            onChange={event => setFilter(event.target.value)}
          />
        )}
      </Looks>
      {shown.length === 0 && <Empty>{trans.__('No metric is called so.')}</Empty>}
      <div className="jp-mlops-charts">
        {shown.map(metric => (
          <MetricChart key={metric.key} runId={run.run_id} metric={metric} look={look} />
        ))}
      </div>
    </>
  );
}

interface LooksProps {
  readonly look: Look;
  readonly onChange: (look: Look) => void;
  readonly children?: React.ReactNode;
}

/** How all charts are drawn. */
function Looks({ look, onChange, children }: LooksProps): ReactElement {
  const trans = useTrans();
  const id = useId();
  return (
    <div className="jp-mlops-actions" role="group" aria-label={trans.__('How charts are drawn')}>
      <label htmlFor={`${id}-axis`}>{trans.__('Along')}</label>
      <select
        id={`${id}-axis`}
        value={look.axis}
        onChange={event => onChange({ ...look, axis: event.target.value as Axis })}
      >
        <option value="step">{trans.__('steps')}</option>
        <option value="time">{trans.__('time')}</option>
      </select>
      <label>
        <input
          type="checkbox"
          checked={look.isLogarithmic}
          onChange={event => onChange({ ...look, isLogarithmic: event.target.checked })}
        />
        {trans.__('Logarithmic')}
      </label>
      <label htmlFor={`${id}-smoothing`}>{trans.__('Smoothing')}</label>
      <input
        id={`${id}-smoothing`}
        type="range"
        min={0}
        max={0.99}
        step={0.01}
        value={look.smoothing}
        onChange={event => onChange({ ...look, smoothing: Number(event.target.value) })}
      />
      <span className="jp-mlops-number">{look.smoothing.toFixed(2)}</span>
      {children}
    </div>
  );
}
