/** Who may want to hear of a run. */
import { useQuery } from '@tanstack/react-query';

import { answered, principalQuery, type Run, type RunComment } from '../api';
import { useApi } from '../view';
import { useExperiment } from './queries';

/** The newest runs of the experiment, whose users are offered. */
const MOST_RUNS = 100;

/** Those who made or discussed it, and with `isAsked` those who work in its experiment; without the user. */
export function usePeople(run: Run, comments: readonly RunComment[], isAsked: boolean): string[] {
  const api = useApi();
  const me = useQuery(principalQuery(api)).data?.name;
  const owner = useExperiment(run.experiment_id).data?.owner ?? '';
  const others = useQuery({
    queryKey: ['people', run.experiment_id],
    queryFn: async () => {
      const body = { experiment_ids: [run.experiment_id], limit: MOST_RUNS };
      const { items } = await answered(api.v1.POST('/search/runs', { body }));
      return [...new Set(items.map(({ user }) => user))];
    },
    enabled: isAsked
  });
  const known = [
    run.user,
    run.submitted_by ?? '',
    owner.startsWith('group:') ? '' : owner,
    ...comments.map(({ user }) => user),
    ...(others.data ?? [])
  ];
  return [...new Set(known)].filter(name => name !== '' && name !== me);
}
