import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactElement, ReactNode } from 'react';

import { Failure } from './Failure';
import { Loading } from './Loading';

interface Props<T> {
  readonly query: UseQueryResult<T>;
  /** Shown until the first answer. */
  readonly loading?: ReactNode;
  readonly children: (answer: T) => ReactNode;
}

/** What was answered, or that it is on its way, or why not. An answer stays while it is asked for again. */
export function Answer<T>({ query, loading = <Loading />, children }: Props<T>): ReactElement {
  const { data, error, refetch } = query;
  if (data === undefined) {
    return <>{error === null ? loading : <Failure error={error} onRetry={() => void refetch()} />}</>;
  }
  return <>{children(data)}</>;
}
