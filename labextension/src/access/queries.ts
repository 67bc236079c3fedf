/** What is known of access tokens. */
import { queryOptions, useQuery, type UseQueryResult } from '@tanstack/react-query';

import { answered } from '../api';
import type { components } from '../api/schema';
import { useApi } from '../view';

export type AccessToken = components['schemas']['AccessToken'];
export const TOKENS = ['access-tokens'];

/** Those on what the user and their groups have. */
export function useTokens(): UseQueryResult<AccessToken[]> {
  const { v1 } = useApi();
  return useQuery(queryOptions({ queryKey: TOKENS, queryFn: () => answered(v1.GET('/access-tokens')) }));
}
