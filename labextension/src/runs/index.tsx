import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading, Status } from '../components';
import { type RunsAddress, useApi, useHost } from '../view';

/** The runs of an experiment. */
export function RunsView({ experimentId }: RunsAddress): ReactElement {
  const { v1 } = useApi();
  const host = useHost();
  const runs = useQuery({
    queryKey: ['runs', experimentId],
    queryFn: () => answered(v1.POST('/search/runs', { body: { experiment_ids: [experimentId], limit: 100 } }))
  });
  if (runs.data === undefined) {
    return runs.error === null ? <Loading /> : <Failure error={runs.error} onRetry={() => void runs.refetch()} />;
  }
  return (
    <ul className="jp-mlops-list">
      {runs.data.items.map(run => (
        <li key={run.run_id}>
          <button type="button" className="jp-mlops-row" onClick={() => host.open({ view: 'run', runId: run.run_id })}>
            {run.name} <Status status={run.status} />
          </button>
        </li>
      ))}
    </ul>
  );
}
