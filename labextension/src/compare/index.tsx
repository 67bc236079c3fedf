import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading } from '../components';
import { type CompareAddress, useApi } from '../view';

/** What differs between runs. */
export function CompareView({ runIds }: CompareAddress): ReactElement {
  const { v1 } = useApi();
  const comparison = useQuery({
    queryKey: ['runs', 'compare', runIds],
    queryFn: () => answered(v1.POST('/compare', { body: { run_ids: [...runIds] } }))
  });
  if (comparison.data === undefined) {
    return comparison.error === null ? (
      <Loading />
    ) : (
      <Failure error={comparison.error} onRetry={() => void comparison.refetch()} />
    );
  }
  return <h1>{runIds.length}</h1>;
}
