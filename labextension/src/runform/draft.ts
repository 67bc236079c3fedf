/** What stands in the form, and the request that it makes. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Form, Intent } from '../api';
import { type Json, type ParameterSchema, read, show } from './values';

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
  /** A JSON object, where the notebook's language hides which parameters there are. */
  readonly parameters?: string;
}

/** The settings of a sweep, as typed. */
export interface Sampling {
  /** Which points are run; all combinations when undefined. */
  readonly method?: 'sample' | 'search';
  readonly sample?: string;
  readonly trials?: string;
  readonly sampler?: string;
  readonly seed?: string;
  readonly metric?: string;
  readonly goal?: 'minimize';
  /** Rules, with commas between them. */
  readonly stop?: string;
  readonly budget?: string;
  readonly jobs?: string;
  readonly engine?: string;
  readonly cluster?: string;
  readonly retries?: string;
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
export function schemasOf(form: Pick<Form, 'parameters'>): Schemas {
  return (form.parameters as { properties?: Schemas }).properties ?? {};
}

/** Whether the notebook is in a language whose `parameters` cell cannot be read. */
export function takesOthers(form: Form): boolean {
  return (form.parameters as { additionalProperties?: boolean }).additionalProperties === true;
}

/** Whether an engine must be told where it runs the notebooks. */
export function needsCluster({ engines }: Pick<Form, 'engines'>, engine: string | undefined): boolean {
  return engines.some(({ name, needs_cluster }) => name === engine && needs_cluster);
}

export function isSweep(draft: Draft): boolean {
  return Object.values(draft.parameters).some(entry => entry.isSwept);
}

/** The request that a draft makes, without what cannot be read, of which `problems` tell. */
export function intentOf(
  path: string,
  form: Pick<Form, 'engines' | 'parameters'>,
  { parameters: entries, settings, sampling }: Draft,
  trans: TranslationBundle
): { readonly intent: Intent; readonly problems: Problems } {
  const problems: Record<string, string[]> = {};
  const parameters: Record<string, Json> = {};
  const grid: string[] = [];
  for (const [name, schema] of Object.entries(schemasOf(form))) {
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
  Object.assign(parameters, others(settings.parameters, problems, trans));
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
  const rules = (sampling.stop ?? '').split(',').flatMap(rule => (rule.trim() === '' ? [] : [rule.trim()]));
  const sweep: Intent = {
    ...intent,
    grid,
    ...pointsOf(sampling, number),
    ...(rules.length === 0 ? {} : { stop: rules }),
    ...given('budget', sampling.budget),
    ...given('jobs', number('jobs', sampling.jobs)),
    ...given('engine', sampling.engine),
    ...(needsCluster(form, sampling.engine) && given('cluster', sampling.cluster)),
    ...given('retries', number('retries', sampling.retries))
  };
  if (sampling.method === 'search' && sampling.metric === undefined) {
    problems.metric = [trans.__('Write the name of the metric that the search is for.')];
  }
  return { intent: sweep, problems };
}

/** Which points are run, and what their runs are compared by. What only another choice uses is left out. */
function pointsOf(
  { method, sample, trials, sampler, seed, metric, goal }: Sampling,
  number: (field: string, text?: string) => number | undefined
): Partial<Intent> {
  if (method === 'search') {
    return {
      optimize: `${goal ?? 'maximize'}:${metric ?? ''}`,
      ...given('trials', number('trials', trials)),
      ...given('sampler', sampler),
      ...given('seed', number('seed', seed))
    };
  }
  return {
    ...(method === 'sample' && { ...given('sample', number('sample', sample)), ...given('seed', number('seed', seed)) }),
    ...(metric !== undefined && { metric, maximize: goal !== 'minimize' })
  };
}

function others(text: string | undefined, problems: Record<string, string[]>, trans: TranslationBundle): object {
  if (text === undefined) {
    return {};
  }
  const found = read({ type: 'object' }, text, trans);
  if ('value' in found && typeof found.value === 'object' && found.value !== null && !Array.isArray(found.value)) {
    return found.value;
  }
  problems.parameters = [trans.__('Write a JSON object, such as {"depth": 3}.')];
  return {};
}

/** The draft that makes an intent, as far as the notebook still takes it. */
export function draftOf(intent: Partial<Intent>, schemas: Schemas): Draft {
  const parameters: Record<string, Entry> = {};
  for (const [name, value] of Object.entries(intent.parameters ?? {})) {
    const schema = schemas[name];
    if (schema !== undefined) {
      parameters[name] = { text: show(schema, value), isSwept: false };
    }
  }
  for (const axis of intent.grid ?? []) {
    const at = axis.indexOf('=');
    parameters[axis.slice(0, at).trim()] = { text: axis.slice(at + 1), isSwept: true };
  }
  const text = (value: number | null | undefined): string | undefined => (value == null ? undefined : String(value));
  return {
    parameters,
    settings: {
      experiment: intent.experiment ?? undefined,
      owner: intent.owner ?? undefined,
      kernel: intent.kernel ?? undefined,
      name: intent.name ?? undefined,
      execution_timeout: text(intent.execution_timeout),
      notes: intent.tags?.[NOTES_TAG]
    },
    sampling: {
      method: intent.optimize != null ? 'search' : intent.sample != null ? 'sample' : undefined,
      sample: text(intent.sample),
      trials: text(intent.trials),
      sampler: intent.sampler ?? undefined,
      seed: text(intent.seed),
      ...goalOf(intent),
      stop: intent.stop?.join(', '),
      budget: intent.budget ?? undefined,
      jobs: text(intent.jobs),
      engine: intent.engine ?? undefined,
      cluster: intent.cluster ?? undefined,
      retries: text(intent.retries === 0 ? undefined : intent.retries)
    }
  };
}

/** What runs are compared by; a search says it in one word, such as `minimize:loss`. */
function goalOf({ optimize, metric, maximize }: Partial<Intent>): Pick<Sampling, 'goal' | 'metric'> {
  if (optimize == null) {
    return { metric: metric ?? undefined, goal: maximize === false ? 'minimize' : undefined };
  }
  const [, direction = 'maximize', name] = /^(?:(maximize|minimize):)?(.*)$/s.exec(optimize) ?? [];
  return { metric: name, goal: direction === 'minimize' ? 'minimize' : undefined };
}

/** The draft without parameters that the notebook no longer has. */
export function declared(draft: Draft, schemas: Schemas): Draft {
  const kept = Object.entries(draft.parameters).filter(([name]) => Object.hasOwn(schemas, name));
  return { ...draft, parameters: Object.fromEntries(kept) };
}

function given<K extends keyof Intent>(field: K, value: Intent[K] | undefined): Partial<Pick<Intent, K>> {
  return value === undefined || value === '' ? {} : ({ [field]: value } as Pick<Intent, K>);
}

/** The draft as it may be kept: without secrets. */
export function withoutSecrets(draft: Draft, schemas: Schemas): Draft {
  const kept = Object.entries(draft.parameters).filter(([name]) => schemas[name]?.writeOnly !== true);
  return { ...draft, parameters: Object.fromEntries(kept) };
}
