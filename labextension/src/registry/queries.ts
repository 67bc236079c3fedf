/** What is known of registered models. */
import { keepPreviousData, queryOptions, useQuery, type UseQueryResult } from '@tanstack/react-query';

import { type AliasPeriod, type AliasStanding, answered, type Consumer, type ModelCard } from '../api';
import type { ModelVersion, Promotion, RegisteredModel } from '../api';
import { useApi } from '../view';

const MOST_VERSIONS = 500;

export function useModel(name: string): UseQueryResult<RegisteredModel> {
  const { v1 } = useApi();
  return useQuery(
    queryOptions({
      queryKey: ['model', name],
      queryFn: () => answered(v1.GET('/models/{name}', { params: { path: { name } } }))
    })
  );
}

/** The newest first. */
export function useVersions(name: string): UseQueryResult<ModelVersion[]> {
  const { v1 } = useApi();
  const filter = `name = '${name.replaceAll("'", "''")}'`;
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'versions'],
      queryFn: async () => {
        const body = { filter, order_by: ['version_number DESC'], limit: MOST_VERSIONS };
        return (await answered(v1.POST('/search/versions', { body }))).items;
      }
    })
  );
}

/** What the aliases of a model pointed at, oldest first. */
export function useHistory(name: string): UseQueryResult<AliasPeriod[]> {
  const { v1 } = useApi();
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'history'],
      queryFn: () => answered(v1.GET('/promotions/history', { params: { query: { model: name } } }))
    })
  );
}

export function useConsumers(name: string): UseQueryResult<Consumer[]> {
  const { v1 } = useApi();
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'consumers'],
      queryFn: () => answered(v1.GET('/models/{name}/consumers', { params: { path: { name } } }))
    })
  );
}

export function useCard(name: string, version: number): UseQueryResult<ModelCard> {
  const { v1 } = useApi();
  const path = { name, version };
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'card', version],
      queryFn: () => answered(v1.GET('/models/{name}/versions/{version}/card', { params: { path } }))
    })
  );
}

/** What an alias is now, and what may be done about it; of none when `alias` is empty. */
export function useStanding(name: string, alias: string, version?: number): UseQueryResult<AliasStanding> {
  const { v1 } = useApi();
  const query = { model: name, alias, ...(version === undefined ? {} : { version }) };
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'standing', alias, version],
      queryFn: () => answered(v1.GET('/promotions/standing', { params: { query } })),
      enabled: alias !== '',
      placeholderData: keepPreviousData
    })
  );
}

/** The requests that are open for a model, the newest first. */
export function useOpenRequests(name: string): UseQueryResult<Promotion[]> {
  const { v1 } = useApi();
  return useQuery(
    queryOptions({
      queryKey: ['model', name, 'requests'],
      queryFn: async () => (await answered(v1.POST('/search/promotions', { body: { model: name, state: 'open' } }))).items
    })
  );
}
