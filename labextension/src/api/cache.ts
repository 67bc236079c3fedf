/** What was answered, kept until something happens that makes it old. */
import { QueryClient } from '@tanstack/react-query';

import { ApiError } from './client';
import type { Events } from './events';
import type { Happening } from './records';

/** How long happenings are collected before what they concern is asked for again. */
const PAUSE = 400;

/**
 * What the first word of a query's key may be: the noun that it is about. What follows is the id or name of one thing,
 * else of a list: `['run', runId, 'comments']`, `['runs', experimentId, filter]`.
 */
export type Noun =
  | 'experiments'
  | 'experiment'
  | 'runs'
  | 'run'
  | 'models'
  | 'model'
  | 'promotions'
  | 'promotion'
  | 'jobs'
  | 'server'
  | 'principal';

export function createCache(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // Events say when an answer is old.
        staleTime: Infinity,
        refetchOnWindowFocus: false,
        retry: (failures, error) => failures < 2 && error instanceof ApiError && error.isTemporary
      }
    }
  });
}

/** Ask again for what happenings concern. Returns what ends it. */
export function follow(cache: QueryClient, events: Events): () => void {
  let due: Happening[] = [];
  let timer: number | undefined;
  const refresh = (): void => {
    timer = undefined;
    const stale = new Set(due.flatMap(concerned));
    due = [];
    void cache.invalidateQueries({
      predicate: ({ queryKey }) => stale.has(about(queryKey)) || stale.has(String(queryKey[0]))
    });
  };
  const told = (_: Events, news: readonly Happening[]): void => {
    for (const { run } of news) {
      if (run != null) {
        cache.setQueryData(['run', run.run_id], run);
      }
    }
    due.push(...news);
    timer ??= window.setTimeout(refresh, PAUSE);
  };
  const changed = (_: Events, state: string): void => {
    if (state === 'live') {
      void cache.invalidateQueries();
    }
  };
  events.happened.connect(told);
  events.stateChanged.connect(changed);
  return () => {
    events.happened.disconnect(told);
    events.stateChanged.disconnect(changed);
    window.clearTimeout(timer);
  };
}

/** What a query is about: `run:ID` for one thing, the noun for a list. */
function about([noun, id]: readonly unknown[]): string {
  return SINGLE.has(noun as Noun) ? `${String(noun)}:${String(id)}` : String(noun);
}

const SINGLE: ReadonlySet<Noun> = new Set<Noun>(['run', 'experiment', 'model', 'promotion']);

/** Whether any run of an experiment may have changed: deleted or restored with it, or with one that they are below. */
export function changedRuns({ kind, detail }: Happening): boolean {
  return kind === 'experiment.changed' && (detail as { runs?: boolean } | null)?.runs === true;
}

/** What a happening makes old: one thing, a list, or by the noun alone all things of that kind. */
function concerned(happening: Happening): string[] {
  const { kind, target, experiment_id, detail } = happening;
  const noun = kind.split('.', 1)[0];
  switch (noun) {
    case 'run':
      return [`run:${target}`, 'runs', `experiment:${experiment_id ?? ''}`, 'experiments', 'jobs'];
    case 'experiment':
      return [`experiment:${target}`, 'experiments', 'runs', ...(changedRuns(happening) ? ['run'] : [])];
    case 'promotion': {
      const request = (detail as { request_id?: string } | null)?.request_id;
      return [`promotion:${request ?? ''}`, 'promotions', `model:${target}`, 'models'];
    }
    default:
      return [`model:${target}`, 'models', 'promotions'];
  }
}
