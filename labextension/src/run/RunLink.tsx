import type { ReactElement } from 'react';
import type { Run } from '../api';
import { Status } from '../components';
import { figure } from '../components/figures';
import { useHost } from '../view';

/** A run in one line that leads to it. */
export function RunLink({ run }: { readonly run: Run }): ReactElement {
  const { open } = useHost();
  const metric = run.metrics?.find(({ key }) => !key.startsWith('system/'));
  return (
    <button type="button" className="jp-mlops-row" onClick={() => open({ view: 'run', runId: run.run_id })}>
      <Status status={run.status} isShort />
      <span className="jp-mlops-name">{run.name}</span>
      {metric !== undefined && (
        <span className="jp-mlops-number">
          {metric.key} {figure(metric.value)}
        </span>
      )}
    </button>
  );
}
