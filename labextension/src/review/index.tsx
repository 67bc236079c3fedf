import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading } from '../components';
import { type ReviewAddress, useApi } from '../view';

/** A request to promote a version. */
export function ReviewView({ requestId }: ReviewAddress): ReactElement {
  const { v1 } = useApi();
  const request = useQuery({
    queryKey: ['promotion', requestId],
    queryFn: () => answered(v1.GET('/promotions/{request_id}', { params: { path: { request_id: requestId } } }))
  });
  if (request.data === undefined) {
    return request.error === null ? (
      <Loading />
    ) : (
      <Failure error={request.error} onRetry={() => void request.refetch()} />
    );
  }
  const { model, version, alias } = request.data;
  return (
    <h1>
      {model} v{version} → {alias}
    </h1>
  );
}
