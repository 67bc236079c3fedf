/** What commands are given. */
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { Intent } from '../api';

const FIELDS = [
  'parameters',
  'grid',
  'experiment',
  'owner',
  'kernel',
  'name',
  'tags',
  'execution_timeout',
  'sample',
  'optimize',
  'trials',
  'sampler',
  'seed',
  'metric',
  'maximize',
  'stop',
  'budget',
  'jobs'
] as const satisfies readonly (keyof Intent)[];

export function text(args: ReadonlyPartialJSONObject, name: string): string | undefined {
  const value = args[name];
  return typeof value === 'string' ? value : undefined;
}

/** The fields of a request that stand among the arguments, which the server checks; null when there are none. */
export function intentIn(args: ReadonlyPartialJSONObject): Partial<Intent> | null {
  const given = FIELDS.filter(field => args[field] !== undefined).map(field => [field, args[field]]);
  return given.length === 0 ? null : (Object.fromEntries(given) as Partial<Intent>);
}
