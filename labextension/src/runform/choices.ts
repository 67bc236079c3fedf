/** What fields offer to choose from. */
import { useQuery } from '@tanstack/react-query';

import { answered, type Principal } from '../api';
import { useApi } from '../view';
import type { Settings } from './draft';

export interface Choices {
  readonly experiments: readonly string[];
  /** Whose an experiment can be; the first unless told. */
  readonly owners: readonly string[];
  /** Names of kernels, with what people call them. */
  readonly kernels: Readonly<Record<string, string>>;
}

/** With what is chosen already, which may be none of what is known. */
export function useChoices(kernels: Readonly<Record<string, string>>, { owner, kernel }: Settings): Choices {
  const { v1 } = useApi();
  const principal = useQuery({ queryKey: ['principal'], queryFn: () => answered(v1.GET('/principal')) });
  const experiments = useQuery({
    queryKey: ['experiments', 'names'],
    queryFn: () => answered(v1.POST('/search/experiments', { body: { limit: 200 } }))
  });
  return {
    experiments: [...new Set(experiments.data?.items.map(experiment => experiment.name))],
    owners: [...new Set([...(principal.data === undefined ? [] : ownersOf(principal.data)), ...(owner === undefined ? [] : [owner])])],
    kernels: kernel === undefined || Object.hasOwn(kernels, kernel) ? kernels : { ...kernels, [kernel]: kernel }
  };
}

function ownersOf({ name, groups = [], default_owner }: Pick<Principal, 'default_owner' | 'groups' | 'name'>): readonly string[] {
  const teams = groups.map(group => `group:${group}`).sort();
  const first = default_owner ?? (teams.length === 1 ? teams[0] : undefined) ?? name;
  return [...new Set([first, name, ...teams])];
}
