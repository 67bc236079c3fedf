/** What would come of an intent, as the server says, and its start. */
import { keepPreviousData, queryOptions, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';

import { type Api, answered, type Intent, type JobStatus, type Plan } from '../api';
import { useApi } from '../view';

/** How long nothing is typed before the server is asked, in milliseconds. */
const PAUSE = 250;

function asked({ server }: Api, intent: Intent) {
  return queryOptions({
    queryKey: ['server', 'plan', intent],
    queryFn: () => answered(server.POST('/plan', { body: intent })),
    // Secrets are in it.
    gcTime: 0
  });
}

/** What would come of what stands in the form; of what stood there, while the answer is on its way. */
export function usePlan(intent: Intent): { readonly data?: Plan; readonly error: Error | null } {
  const settled = useSettled(intent);
  return useQuery({ ...asked(useApi(), settled), placeholderData: keepPreviousData });
}

/** Starts a run or a sweep; null when something is wrong with it, which the plan tells. */
export function useStart() {
  const api = useApi();
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (intent: Intent): Promise<JobStatus | null> => {
      const plan = await cache.query(asked(api, intent));
      return (plan.problems ?? []).length > 0 ? null : submit(api, intent);
    },
    onSuccess: () => cache.invalidateQueries({ queryKey: ['jobs'] })
  });
}

export function submit({ server }: Api, { grid = [], ...run }: Intent): Promise<JobStatus> {
  return grid.length === 0
    ? answered(server.POST('/runs', { body: run }))
    : answered(server.POST('/sweeps', { body: { ...run, grid } }));
}

/** The latest intent that has not changed for a while. */
function useSettled(intent: Intent): Intent {
  const [settled, setSettled] = useState(intent);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(intent), PAUSE);
    return () => window.clearTimeout(timer);
  }, [intent]);
  return settled;
}
