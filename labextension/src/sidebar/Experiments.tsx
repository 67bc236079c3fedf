import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Empty, Failure, Loading, Owner, RelativeTime } from '../components';
import { useApi, useHost } from '../view';

/** The experiments that the user may see, the one with the newest run first. */
export function Experiments(): ReactElement {
  const { v1 } = useApi();
  const { open, trans } = useHost();
  const found = useQuery({
    queryKey: ['experiments'],
    queryFn: () => answered(v1.POST('/search/experiments', { body: { limit: 200 } }))
  });
  if (found.data === undefined) {
    return found.error === null ? <Loading /> : <Failure error={found.error} onRetry={() => void found.refetch()} />;
  }
  if (found.data.items.length === 0) {
    return <Empty>{trans.__('No experiments yet: run a notebook, and it appears here.')}</Empty>;
  }
  return (
    <ul className="jp-mlops-list">
      {found.data.items.map(({ experiment_id, name, owner, runs = 0, last_run }) => (
        <li key={experiment_id}>
          <button
            type="button"
            className="jp-mlops-row"
            onClick={() => open({ view: 'runs', experimentId: experiment_id })}
          >
            <span className="jp-mlops-name">{name}</span>
            <Owner owner={owner} />
            <span className="jp-mlops-number">{trans._n('%1 run', '%1 runs', runs)}</span>
            {last_run != null && <RelativeTime at={last_run} />}
          </button>
        </li>
      ))}
    </ul>
  );
}
