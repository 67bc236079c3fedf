/** Where messages about fields are shown. */
import type { ErrorSchema } from '@rjsf/utils';
import type { ReadonlyJSONObject } from '@lumino/coreutils';

import type { FieldProblem } from '../api';
import type { Problems, Schemas } from './draft';

const PARAMETER = 'parameters.';
const SAMPLING = new Set(['sample', 'trials', 'sampler', 'seed', 'metric', 'stop', 'budget', 'jobs', 'engine', 'cluster', 'retries']);
const SETTINGS = new Set(['experiment', 'owner', 'kernel', 'execution_timeout', 'name', 'parameters']);

/** Those that were found here, and for other fields those that the server found. */
export function merged(here: Problems, there: readonly FieldProblem[] = []): Problems {
  const found: Record<string, string[]> = {};
  for (const { field, message } of there) {
    // The metric of a search has the field that other sweeps have for theirs.
    (found[field === 'optimize' ? 'metric' : field] ??= []).push(message);
  }
  return { ...found, ...here };
}

/** Messages at their fields. */
export function errorSchema(problems: Problems): ErrorSchema<ReadonlyJSONObject> {
  const sections: Record<string, Record<string, { __errors: string[] }>> = {};
  for (const [field, messages] of Object.entries(problems)) {
    const [section, name] = placeOf(field);
    (sections[section] ??= {})[name] = { __errors: [...messages] };
  }
  return sections;
}

/** Messages about what has no field. */
export function unplaced(problems: Problems, schemas: Schemas): readonly string[] {
  const isShown = (field: string): boolean => {
    const [section, name] = placeOf(field);
    return section === 'parameters' ? Object.hasOwn(schemas, name) : section !== '';
  };
  return Object.entries(problems).flatMap(([field, messages]) => (isShown(field) ? [] : messages));
}

function placeOf(field: string): [string, string] {
  if (field.startsWith(PARAMETER)) {
    return ['parameters', field.slice(PARAMETER.length)];
  }
  return [SAMPLING.has(field) ? 'sampling' : SETTINGS.has(field) ? 'settings' : '', field];
}
