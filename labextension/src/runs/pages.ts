/** The runs of an experiment, page by page, and what happens to them meanwhile. */
import { type InfiniteData, keepPreviousData, useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState } from 'react';

import { answered, type Happening, type Run } from '../api';
import { useApi, useEvents } from '../view';

/** The first is small, so that something is seen soon; who scrolls on gets more at a time. */
const PAGE_SIZES = [100, 400, 1000];
const LARGEST_PAGE = 2000;
/** How long happenings are collected before it is asked what they mean for the table. */
const PAUSE = 400;

function pageSize(page: number): number {
  return PAGE_SIZES[page] ?? LARGEST_PAGE;
}

const FIRST_PAGE: PageParam = { token: null, limit: pageSize(0) };
const NEWEST_FIRST = 'attributes.start_time DESC';

export interface RunsQuery {
  readonly experimentId: string;
  readonly filter: string;
  /** A clause such as `metrics.auc DESC`; empty is newest first. */
  readonly order: string;
  readonly isDeleted: boolean;
}

interface Page {
  readonly items: readonly Run[];
  readonly next_page_token?: string | null;
}
interface PageParam {
  readonly token: string | null;
  readonly limit: number;
}
type Pages = InfiniteData<Page, PageParam>;

export interface FoundRuns {
  readonly pages: readonly (readonly Run[])[];
  /** There are more than `pages` has. */
  readonly hasMore: boolean;
  readonly isLoading: boolean;
  /** What is shown is of the query before. */
  readonly isOld: boolean;
  readonly error: Error | null;
  /** Runs that came meanwhile, and have no known place in this order. */
  readonly news: number;
  readonly more: () => void;
  readonly again: () => void;
}

export function useRuns(query: RunsQuery): FoundRuns {
  const { v1 } = useApi();
  const { experimentId, filter, order, isDeleted } = query;
  const key = useMemo(() => ['run-pages', experimentId, filter, order, isDeleted], [experimentId, filter, order, isDeleted]);
  const found = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam, signal }) =>
      answered(
        v1.POST('/search/runs', {
          body: {
            experiment_ids: [experimentId],
            filter,
            order_by: order === '' ? [] : [order],
            view: isDeleted ? 'DELETED_ONLY' : 'ACTIVE_ONLY',
            limit: pageParam.limit,
            page_token: pageParam.token
          },
          signal
        })
      ),
    initialPageParam: FIRST_PAGE,
    getNextPageParam: (last: Page, pages): PageParam | null =>
      last.next_page_token == null ? null : { token: last.next_page_token, limit: pageSize(pages.length) },
    placeholderData: keepPreviousData
  });
  const news = useLive(query, key);
  const { fetchNextPage, refetch, hasNextPage, isFetching } = found;
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) {
      void fetchNextPage();
    }
  }, [fetchNextPage, hasNextPage, isFetching]);
  const client = useQueryClient();
  const again = useCallback(() => {
    // Pages further down would be asked for one after the other.
    client.setQueryData<Pages>(key, data => data && { pages: data.pages.slice(0, 1), pageParams: data.pageParams.slice(0, 1) });
    void refetch();
  }, [client, key, refetch]);
  // While a query is refused, what the one before found stays.
  const [last, setLast] = useState<InfiniteData<Page> | undefined>(undefined);
  if (found.data !== undefined && found.data !== last) {
    setLast(found.data);
  }
  const shown = found.data ?? (found.error === null ? undefined : last);
  const pages = useMemo(() => shown?.pages.map(page => page.items) ?? [], [shown]);
  return {
    pages,
    hasMore: hasNextPage,
    isLoading: found.isLoading,
    isOld: found.isPlaceholderData || found.data === undefined,
    error: found.error,
    news,
    more,
    again
  };
}

/** Keeps the pages as the runs are; gives how many runs there are besides. */
function useLive({ experimentId, filter, order, isDeleted }: RunsQuery, key: readonly unknown[]): number {
  const { v1 } = useApi();
  const events = useEvents();
  const client = useQueryClient();
  const [others, setOthers] = useState<{ key: readonly unknown[]; ids: ReadonlySet<string> }>({ key, ids: new Set() });
  useEffect(() => {
    let due = new Set<string>();
    let created = new Set<string>();
    let timer: number | undefined;
    const look = async (): Promise<void> => {
      timer = undefined;
      const change = { changed: due, created };
      const ids = [...due];
      due = new Set();
      created = new Set();
      // Which of them belong here the server knows: it reads the filter.
      const { items } = await answered(
        v1.POST('/search/runs', {
          body: {
            experiment_ids: [experimentId],
            filter: [filter, `attributes.run_id IN (${ids.map(id => `'${id}'`).join(', ')})`].filter(Boolean).join(' AND '),
            view: isDeleted ? 'DELETED_ONLY' : 'ACTIVE_ONLY',
            limit: ids.length
          }
        })
      );
      const data = client.getQueryData<Pages>(key);
      if (data === undefined) {
        return;
      }
      const { pages, unplaced } = renewed(data.pages, { ...change, now: items }, order === '' || order === NEWEST_FIRST);
      client.setQueryData<Pages>(key, { ...data, pages });
      setOthers(before => ({ key, ids: new Set([...(before.key === key ? before.ids : []), ...unplaced]) }));
    };
    const told = (_: unknown, news: readonly Happening[]): void => {
      for (const { kind, target, experiment_id } of news) {
        if (kind.startsWith('run.') && experiment_id === experimentId) {
          due.add(target);
          if (kind === 'run.created') {
            created.add(target);
          }
        }
      }
      if (due.size > 0) {
        timer ??= window.setTimeout(() => void look().catch(() => undefined), PAUSE);
      }
    };
    events.happened.connect(told);
    return () => {
      events.happened.disconnect(told);
      window.clearTimeout(timer);
    };
  }, [v1, events, client, key, experimentId, filter, order, isDeleted]);
  return others.key === key ? others.ids.size : 0;
}

/** What happened to the runs of a query. */
export interface Change {
  /** The ids of the runs that something happened to. */
  readonly changed: ReadonlySet<string>;
  /** Those of them that are new. */
  readonly created: ReadonlySet<string>;
  /** Those that belong to the query now, as they stand. */
  readonly now: readonly Run[];
}

interface Renewed {
  readonly pages: Page[];
  /** Runs that belong to the query, at a place that only the server knows. */
  readonly unplaced: string[];
}

/** The pages after a change. */
export function renewed(pages: readonly Page[], { changed, created, now }: Change, isNewestFirst: boolean): Renewed {
  const left = new Map(now.map(run => [run.run_id, run]));
  const result = pages.map(page => {
    if (!page.items.some(run => changed.has(run.run_id))) {
      return page;
    }
    const items = page.items.flatMap(run => {
      if (!changed.has(run.run_id)) {
        return [run];
      }
      const current = left.get(run.run_id);
      left.delete(run.run_id);
      return current === undefined ? [] : [current];
    });
    return { ...page, items };
  });
  const unplaced: string[] = [];
  for (const run of left.values()) {
    if (isNewestFirst) {
      place(run, result);
    } else if (created.has(run.run_id) || result.at(-1)?.next_page_token == null) {
      unplaced.push(run.run_id);
    }
  }
  return { pages: result, unplaced };
}

/** Puts a run where it belongs among the newest first; nowhere when that page has not come yet. */
function place(run: Run, pages: Page[]): void {
  const belongs = pages.findIndex(({ items, next_page_token }) => {
    const last = items.at(-1);
    return next_page_token == null || (last !== undefined && run.start_time >= last.start_time);
  });
  const page = pages[belongs];
  if (page !== undefined) {
    const before = page.items.findIndex(each => each.start_time <= run.start_time);
    const at = before === -1 ? page.items.length : before;
    pages[belongs] = { ...page, items: [...page.items.slice(0, at), run, ...page.items.slice(at)] };
  }
}
