/** What fields offer to choose from. */
import { useQuery } from '@tanstack/react-query';

import { answered, type Principal } from '../api';
import { useApi } from '../view';

export interface Choices {
  readonly experiments: readonly string[];
  /** Whose an experiment can be; the first unless told. */
  readonly owners: readonly string[];
  /** Names of kernels, with what people call them. */
  readonly kernels: Readonly<Record<string, string>>;
}

export function useChoices(kernels: Readonly<Record<string, string>>): Choices {
  const { v1 } = useApi();
  const principal = useQuery({ queryKey: ['principal'], queryFn: () => answered(v1.GET('/principal')) });
  const experiments = useQuery({
    queryKey: ['experiments', 'names'],
    queryFn: () => answered(v1.POST('/search/experiments', { body: { limit: 200 } }))
  });
  return {
    experiments: [...new Set(experiments.data?.items.map(experiment => experiment.name))],
    owners: principal.data === undefined ? [] : ownersOf(principal.data),
    kernels
  };
}

function ownersOf({ name, groups = [], default_owner }: Pick<Principal, 'default_owner' | 'groups' | 'name'>): readonly string[] {
  const teams = groups.map(group => `group:${group}`).sort();
  const first = default_owner ?? (teams.length === 1 ? teams[0] : undefined) ?? name;
  return [...new Set([first, name, ...teams])];
}
