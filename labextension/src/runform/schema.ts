/** The form in the words of `@rjsf`: which fields there are, and what shows them. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyJSONObject } from '@lumino/coreutils';
import type { RJSFSchema, UiSchema, ValidatorType } from '@rjsf/utils';

import type { Form } from '../api';
import type { Choices } from './choices';
import { type Draft, isSweep, needsCluster, schemasOf, takesOthers } from './draft';

/** Optuna's, besides the one that the server chooses. */
const SAMPLERS = ['gp', 'cmaes', 'qmc', 'random'] as const;

export function schemaOf(form: Form, draft: Draft, choices: Choices, trans: TranslationBundle): RJSFSchema {
  const properties = Object.entries(schemasOf(form)).map(([name, { description }]): [string, RJSFSchema] => [
    name,
    { type: 'string', title: name, description }
  ]);
  const settings: Record<string, RJSFSchema> = {
    ...(takesOthers(form) && {
      parameters: { type: 'string', title: trans.__('Parameters'), description: trans.__('As a JSON object.') }
    }),
    experiment: { type: 'string', title: trans.__('Experiment'), examples: [...choices.experiments] },
    owner: choice(
      trans.__('Owner of the experiment'),
      choices.owners.slice(1).map(owner => [owner, ownerLabel(owner, trans)])
    ),
    kernel: choice(trans.__('Kernel'), otherKernels(form, choices)),
    execution_timeout: {
      type: 'string',
      title: trans.__('Time-out of a cell, in seconds'),
      description: trans.__('A cell that takes longer ends its run.')
    },
    name: { type: 'string', title: trans.__('Name') },
    notes: { type: 'string', title: trans.__('Notes') }
  };
  if (choices.owners.length < 2) {
    delete settings.owner;
  }
  return {
    type: 'object',
    properties: {
      ...(properties.length > 0 && {
        parameters: { type: 'object', title: trans.__('Parameters'), properties: Object.fromEntries(properties) }
      }),
      ...(isSweep(draft) && { sampling: samplingOf(form, draft, trans) }),
      settings: { type: 'object', title: trans.__('Run'), properties: settings }
    }
  };
}

function samplingOf(form: Form, { sampling: { method, metric, engine } }: Draft, trans: TranslationBundle): RJSFSchema {
  const isSearch = method === 'search';
  return {
    type: 'object',
    title: trans.__('Sweep'),
    properties: {
      method: choice(trans.__('Points'), [
        ['sample', trans.__('a sample, at random')],
        ['search', trans.__('a search for the best')]
      ]),
      ...(method === 'sample' && {
        sample: { type: 'string', title: trans.__('How many'), description: trans.__('So many of the combinations.') }
      }),
      ...(isSearch && {
        trials: { type: 'string', title: trans.__('How many') },
        sampler: choice(
          trans.__('Proposed by'),
          SAMPLERS.map(name => [name, name])
        )
      }),
      ...(method !== undefined && {
        seed: { type: 'string', title: trans.__('Seed'), description: trans.__('The same one gives the same points.') }
      }),
      metric: { type: 'string', title: isSearch ? trans.__('Metric to optimize') : trans.__('Metric to compare by') },
      ...((isSearch || metric !== undefined) && {
        goal: choice(trans.__('The best run has'), [['minimize', trans.__('the lowest value')]])
      }),
      stop: {
        type: 'string',
        title: trans.__('Stop a run'),
        description: trans.__('When it is broken or hopeless: nan, loss>100, idle:10m, median; with commas between them.')
      },
      budget: {
        type: 'string',
        title: trans.__('Begin none after'),
        description: trans.__('A time such as 2h or 30m, counted from the start of the sweep.')
      },
      jobs: { type: 'string', title: trans.__('Runs at a time') },
      engine: choice(
        trans.__('Engine'),
        form.engines.slice(1).map(({ name }) => [name, engineLabel(name, trans)])
      ),
      ...(needsCluster(form, engine) && {
        cluster: {
          type: 'string',
          title: trans.__('Cluster'),
          description: trans.__('The address of a scheduler, gateway:URL, or local:N for N workers on this machine.')
        }
      }),
      retries: {
        type: 'string',
        title: trans.__('Run again'),
        description: trans.__('How often a run whose worker or machine was lost is tried again.')
      }
    }
  };
}

function engineLabel(name: string, trans: TranslationBundle): string {
  switch (name) {
    case 'fork':
      return trans.__('fork: what all runs share is executed once');
    case 'fork-equal':
      return trans.__('fork-equal: as fork, with the same random numbers in each run');
    case 'local':
      return trans.__('local: a new kernel for each run');
    case 'dask':
      return trans.__('dask: on the workers of a cluster');
    default:
      return name;
  }
}

export function uiSchemaOf(form: Form, choices: Choices, trans: TranslationBundle): UiSchema<ReadonlyJSONObject> {
  const schemas = schemasOf(form);
  const fields = Object.entries(schemas).map(([name, schema]): [string, UiSchema<ReadonlyJSONObject>] => [
    name,
    { 'ui:field': 'parameter', 'ui:options': { parameter: schema } }
  ]);
  return {
    parameters: Object.fromEntries(fields),
    sampling: {
      method: { 'ui:placeholder': trans.__('all combinations') },
      sample: { 'ui:placeholder': trans.__('all combinations') },
      trials: { 'ui:placeholder': '20' },
      sampler: { 'ui:placeholder': 'tpe' },
      stop: { 'ui:placeholder': trans.__('never') },
      budget: { 'ui:placeholder': trans.__('no limit') },
      jobs: { 'ui:placeholder': trans.__('as many as the server allows') },
      goal: { 'ui:placeholder': trans.__('the highest value') },
      engine: { 'ui:placeholder': engineLabel(form.engines[0]?.name ?? '', trans) },
      cluster: { 'ui:placeholder': 'tls://scheduler:8786' },
      retries: { 'ui:placeholder': '0' }
    },
    settings: {
      parameters: { 'ui:placeholder': '{"depth": 3}' },
      experiment: { 'ui:placeholder': form.experiment },
      owner: { 'ui:placeholder': ownerLabel(choices.owners[0] ?? '', trans) },
      kernel: { 'ui:placeholder': trans.__('%1 (the notebook’s)', choices.kernels[form.kernel] ?? form.kernel) },
      execution_timeout: { 'ui:placeholder': trans.__('none') },
      name: { 'ui:placeholder': trans.__('chosen at random') },
      notes: { 'ui:widget': 'textarea', 'ui:options': { rows: 2 } }
    }
  };
}

/** Values to choose from, with what people call them. */
function choice(title: string, values: readonly (readonly [string, string])[]): RJSFSchema {
  // What takes the place of `enumNames`, JupyterLab's @rjsf does not know yet.
  const names = { enumNames: values.map(([, name]) => name) };
  return { type: 'string', title, enum: values.map(([value]) => value), ...names };
}

function otherKernels(form: Form, { kernels }: Choices): (readonly [string, string])[] {
  return Object.entries(kernels).filter(([name]) => name !== form.kernel);
}

function ownerLabel(owner: string, trans: TranslationBundle): string {
  const [, group] = /^group:(.*)$/.exec(owner) ?? [];
  return group === undefined ? owner : trans.__('%1 (group)', group);
}

/** The form knows no rules of its own: what is wrong is told by `extraErrors`, in the server's words. */
export const NO_RULES: ValidatorType<ReadonlyJSONObject> = {
  validateFormData: () => ({ errors: [], errorSchema: {} }),
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- validators must still have it
  toErrorList: () => [],
  isValid: () => true,
  rawValidation: () => ({})
};
