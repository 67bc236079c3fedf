/** What stands in the form, and the request that it makes. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Form, Intent } from '../api';
import { type Json, type ParameterSchema, read } from './values';

export interface Entry {
  /** As typed; empty: the default. */
  readonly text: string;
  /** The text is an axis of a sweep. */
  readonly isSwept: boolean;
}

/** The settings of a run, as typed; empty: what the server chooses. */
export interface Settings {
  readonly experiment?: string;
  readonly owner?: string;
  readonly kernel?: string;
  readonly execution_timeout?: string;
  readonly name?: string;
  readonly notes?: string;
}

/** The settings of a sweep, as typed. */
export interface Sampling {
  readonly sample?: string;
  readonly seed?: string;
  readonly jobs?: string;
  readonly metric?: string;
  readonly goal?: 'minimize';
}

export interface Draft {
  readonly parameters: Readonly<Record<string, Entry>>;
  readonly settings: Settings;
  readonly sampling: Sampling;
}

/** Messages by field, as the server names fields: `kernel`, `parameters.lr`. */
export type Problems = Readonly<Record<string, readonly string[]>>;

export const NO_ENTRY: Entry = { text: '', isSwept: false };
export const EMPTY: Draft = { parameters: {}, settings: {}, sampling: {} };
const NOTES_TAG = 'mlflow.note.content';

export type Schemas = Readonly<Record<string, ParameterSchema>>;

/** The parameters of a notebook, in its order. */
export function schemasOf(form: Form): Schemas {
  return (form.parameters as { properties?: Schemas }).properties ?? {};
}

export function isSweep(draft: Draft): boolean {
  return Object.values(draft.parameters).some(entry => entry.isSwept);
}

/** The request that a draft makes, without what cannot be read, of which `problems` tell. */
export function intentOf(
  path: string,
  schemas: Schemas,
  { parameters: entries, settings, sampling }: Draft,
  trans: TranslationBundle
): { readonly intent: Intent; readonly problems: Problems } {
  const problems: Record<string, string[]> = {};
  const parameters: Record<string, Json> = {};
  const grid: string[] = [];
  for (const [name, schema] of Object.entries(schemas)) {
    const { text, isSwept } = entries[name] ?? NO_ENTRY;
    if (isSwept) {
      grid.push(`${name}=${text}`);
    } else if (text !== '') {
      const found = read(schema, text, trans);
      if ('problem' in found) {
        problems[`parameters.${name}`] = [found.problem];
      } else {
        parameters[name] = found.value;
      }
    }
  }
  const number = (field: string, text = '', type: 'integer' | 'number' = 'integer'): number | undefined => {
    if (text === '') {
      return undefined;
    }
    const found = read({ type }, text, trans);
    if ('problem' in found) {
      problems[field] = [found.problem];
      return undefined;
    }
    return found.value as number;
  };
  const intent: Intent = {
    path,
    parameters: parameters as Intent['parameters'],
    ...given('experiment', settings.experiment),
    ...given('owner', settings.owner),
    ...given('kernel', settings.kernel),
    ...given('name', settings.name),
    ...given('execution_timeout', number('execution_timeout', settings.execution_timeout, 'number')),
    ...(settings.notes === undefined ? {} : { tags: { [NOTES_TAG]: settings.notes } })
  };
  if (grid.length === 0) {
    return { intent, problems };
  }
  const sweep: Intent = {
    ...intent,
    grid,
    ...given('sample', number('sample', sampling.sample)),
    ...given('jobs', number('jobs', sampling.jobs)),
    ...given('metric', sampling.metric)
  };
  // Without a sample a seed does nothing, and the server says so; its field is not shown then.
  Object.assign(sweep, sweep.sample === undefined ? {} : given('seed', number('seed', sampling.seed)));
  Object.assign(sweep, sampling.metric === undefined ? {} : { maximize: sampling.goal !== 'minimize' });
  return { intent: sweep, problems };
}

function given<K extends keyof Intent>(field: K, value: Intent[K] | undefined): Partial<Pick<Intent, K>> {
  return value === undefined || value === '' ? {} : ({ [field]: value } as Pick<Intent, K>);
}

/** The draft as it may be kept: without secrets. */
export function withoutSecrets(draft: Draft, schemas: Schemas): Draft {
  const kept = Object.entries(draft.parameters).filter(([name]) => schemas[name]?.writeOnly !== true);
  return { ...draft, parameters: Object.fromEntries(kept) };
}
