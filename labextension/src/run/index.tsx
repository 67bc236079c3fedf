import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading, Status } from '../components';
import { type RunAddress, useApi } from '../view';

/** One run. */
export function RunView({ runId }: RunAddress): ReactElement {
  const { v1 } = useApi();
  const run = useQuery({
    queryKey: ['run', runId],
    queryFn: () => answered(v1.GET('/runs/{run_id}', { params: { path: { run_id: runId } } }))
  });
  if (run.data === undefined) {
    return run.error === null ? <Loading /> : <Failure error={run.error} onRetry={() => void run.refetch()} />;
  }
  return (
    <h1>
      {run.data.name} <Status status={run.data.status} />
    </h1>
  );
}
