import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading } from '../components';
import { useApi } from '../view';

/** Starts a run of the notebook at `path`. */
export function RunForm({ path }: { readonly path: string }): ReactElement {
  const { server } = useApi();
  const form = useQuery({
    queryKey: ['server', 'form', path],
    queryFn: () => answered(server.GET('/notebook', { params: { query: { path } } }))
  });
  if (form.data === undefined) {
    return form.error === null ? <Loading /> : <Failure error={form.error} onRetry={() => void form.refetch()} />;
  }
  return <p>{form.data.kernel}</p>;
}
