import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading } from '../components';
import { NotebookDiff } from '../components/notebookdiff';
import { useApi, useTrans } from '../view';

/** How the notebook of one run became that of another. */
export function NotebookChanges({ runId, other }: { readonly runId: string; readonly other: string }): ReactElement {
  const { v1 } = useApi();
  const trans = useTrans();
  const changes = useQuery({
    queryKey: ['notebook-changes', runId, other],
    queryFn: () => answered(v1.GET('/compare/notebooks', { params: { query: { run_id: runId, other } } }))
  });
  if (changes.data === undefined) {
    return changes.error === null ? (
      <Loading label={trans.__('Comparing the notebooks…')} />
    ) : (
      <Failure error={changes.error} onRetry={() => void changes.refetch()} />
    );
  }
  const { base, diff, note } = changes.data;
  if (base == null || diff == null) {
    return <p>{note}</p>;
  }
  return <NotebookDiff base={base} diff={diff} label={trans.__('How the code differs')} />;
}
