/** Questions that several views ask, under one key each. */
import { type Api, answered } from './client';
import type {
  Experiment,
  JobStatus,
  Principal,
  Promotion,
  RegisteredModel,
  Run,
  ServerStatus,
  Waiting
} from './records';

interface Query<T> {
  readonly queryKey: readonly unknown[];
  readonly queryFn: () => Promise<T>;
  readonly refetchInterval?: number;
}

/** How long the state of the server may be old, which no event tells. */
const STATUS_MS = 30_000;
const MOST_EXPERIMENTS = 500;
const MOST_ACTIVE = 100;
const MOST_MODELS = 200;

export const principalQuery = ({ v1 }: Api): Query<Principal> => ({
  queryKey: ['principal'],
  queryFn: () => answered(v1.GET('/principal'))
});

/** The newest, counted; `more` when there are others. */
export const experimentsQuery = ({ v1 }: Api): Query<{ items: Experiment[]; more: boolean }> => ({
  queryKey: ['experiments'],
  queryFn: async () => {
    const page = await answered(v1.POST('/search/experiments', { body: { limit: MOST_EXPERIMENTS } }));
    return { items: page.items, more: page.next_page_token != null };
  }
});

/** Runs that work or wait, whoever made them. */
export const activeRunsQuery = ({ v1 }: Api): Query<Run[]> => ({
  queryKey: ['runs', 'active'],
  queryFn: async () => {
    // In the order of their starts the store would look through everybody's runs.
    const active = { filter: "attributes.status IN ('RUNNING', 'SCHEDULED')", order_by: ['attributes.status'] };
    const body = { ...active, limit: MOST_ACTIVE };
    return (await answered(v1.POST('/search/runs', { body }))).items;
  }
});

export const runQuery = ({ v1 }: Api, runId: string): Query<Run> => ({
  queryKey: ['run', runId],
  queryFn: () => answered(v1.GET('/runs/{run_id}', { params: { path: { run_id: runId } } }))
});

export const modelsQuery = ({ v1 }: Api): Query<RegisteredModel[]> => ({
  queryKey: ['models'],
  queryFn: async () => (await answered(v1.POST('/search/models', { body: { limit: MOST_MODELS } }))).items
});

/** What waits for the user: requests to decide about, comments that mention them. */
export const waitingQuery = ({ v1 }: Api): Query<Waiting> => ({
  queryKey: ['promotions', 'waiting'],
  queryFn: () => answered(v1.GET('/promotions/waiting'))
});

export const openRequestsQuery = ({ v1 }: Api): Query<Promotion[]> => ({
  queryKey: ['promotions', 'open'],
  queryFn: async () => {
    const body = { state: 'open' as const, limit: MOST_MODELS };
    return (await answered(v1.POST('/search/promotions', { body }))).items;
  }
});

/** Runs and sweeps that were submitted through this Jupyter server. */
export const jobsQuery = ({ server }: Api): Query<JobStatus[]> => ({
  queryKey: ['jobs'],
  queryFn: async () => (await answered(server.GET('/jobs'))).jobs
});

export const serverStatusQuery = ({ server }: Api): Query<ServerStatus> => ({
  queryKey: ['server', 'status'],
  queryFn: () => answered(server.GET('/status')),
  refetchInterval: STATUS_MS
});
