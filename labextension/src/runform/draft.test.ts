import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { Intent } from '../api';
import { declared, type Draft, draftOf, EMPTY, intentOf, isSweep, type Schemas, withoutSecrets } from './draft';

const trans = nullTranslator.load('');
const SCHEMAS: Schemas = {
  lr: { type: 'number', default: 0.01 },
  depth: { type: 'integer' },
  api_key: { type: 'string', writeOnly: true }
};
const FORM: Parameters<typeof intentOf>[1] = {
  parameters: { properties: SCHEMAS } as never,
  engines: [
    { name: 'fork', needs_cluster: false },
    { name: 'dask', needs_cluster: true },
    { name: 'local', needs_cluster: false }
  ]
};
const made = (draft: Partial<Draft>): ReturnType<typeof intentOf> =>
  intentOf('a.ipynb', FORM, { ...EMPTY, ...draft }, trans);

describe('a draft', () => {
  it('that is empty asks for the notebook with its defaults', () =>
    expect(made({})).toEqual({ intent: { path: 'a.ipynb', parameters: {} }, problems: {} }));

  it('passes on what was typed, and says what cannot be read', () => {
    const { intent, problems } = made({
      parameters: { lr: { text: '0.1', isSwept: false }, depth: { text: 'deep', isSwept: false } },
      settings: { experiment: 'churn', execution_timeout: 'soon', notes: 'a note' }
    });
    expect(intent).toEqual({
      path: 'a.ipynb',
      parameters: { lr: 0.1 },
      experiment: 'churn',
      tags: { 'mlflow.note.content': 'a note' }
    });
    expect(Object.keys(problems)).toEqual(['parameters.depth', 'execution_timeout']);
  });

  it('with a swept parameter is a sweep, in the words of the server', () => {
    const swept: Partial<Draft> = {
      parameters: { lr: { text: 'log(1e-4,1e-1,4)', isSwept: true }, depth: { text: '5', isSwept: false } },
      sampling: { method: 'sample', sample: '3', seed: '7', metric: 'loss', goal: 'minimize' }
    };
    expect(isSweep({ ...EMPTY, ...swept })).toBe(true);
    expect(made(swept).intent).toEqual({
      path: 'a.ipynb',
      parameters: { depth: 5 },
      grid: ['lr=log(1e-4,1e-1,4)'],
      sample: 3,
      seed: 7,
      metric: 'loss',
      maximize: false
    });
  });

  it('leaves out what another choice of points uses, and what is of a sweep from a run', () => {
    const parameters = { lr: { text: '1,2', isSwept: true } };
    const typed = { sample: '3', trials: 'many', sampler: 'gp', seed: '7' };
    expect(made({ parameters, sampling: typed })).toEqual({
      intent: { path: 'a.ipynb', parameters: {}, grid: ['lr=1,2'] },
      problems: {}
    });
    expect(made({ sampling: { ...typed, method: 'sample' } }).intent).toEqual({ path: 'a.ipynb', parameters: {} });
  });

  it('that searches needs a metric, and says by it which way is better', () => {
    const parameters = { lr: { text: 'uniform(0,1)', isSwept: true } };
    const sampling = { method: 'search', trials: '12', stop: ' nan,, loss>100 ', budget: '2h' } as const;
    expect(Object.keys(made({ parameters, sampling }).problems)).toEqual(['metric']);
    expect(made({ parameters, sampling: { ...sampling, metric: 'auc' } })).toEqual({
      intent: {
        path: 'a.ipynb',
        parameters: {},
        grid: ['lr=uniform(0,1)'],
        optimize: 'maximize:auc',
        trials: 12,
        stop: ['nan', 'loss>100'],
        budget: '2h'
      },
      problems: {}
    });
  });

  it('names a cluster for an engine that needs one only', () => {
    const parameters = { lr: { text: '1,2', isSwept: true } };
    const asked = (engine?: string): unknown =>
      made({ parameters, sampling: { engine, cluster: 'local:2', retries: '1' } }).intent;
    const sweep = { path: 'a.ipynb', parameters: {}, grid: ['lr=1,2'], retries: 1 };
    expect(asked()).toEqual(sweep);
    expect(asked('local')).toEqual({ ...sweep, engine: 'local' });
    expect(asked('dask')).toEqual({ ...sweep, engine: 'dask', cluster: 'local:2' });
  });

  it('takes parameters as JSON where the notebook hides which it has', () => {
    expect(made({ settings: { parameters: '{"n": 3}' } }).intent.parameters).toEqual({ n: 3 });
    expect(made({ settings: { parameters: '[3]' } }).problems).toHaveProperty('parameters');
  });

  it.each([
    { sample: 2, seed: 5, metric: 'auc', maximize: false },
    { optimize: 'minimize:loss', trials: 9, sampler: 'qmc', seed: 5, stop: ['nan', 'idle:10m'], budget: '90s' },
    { optimize: 'maximize:a:b' },
    { engine: 'dask', cluster: 'gateway:https://hub/services/dask-gateway', retries: 2 }
  ])('is made by the intent that it makes: %j', points => {
    const intent = {
      path: 'a.ipynb',
      parameters: { depth: 7 },
      grid: ['lr=0.1,0.2'],
      experiment: 'churn',
      owner: 'group:growth',
      kernel: 'python3',
      execution_timeout: 60,
      ...points,
      tags: { 'mlflow.note.content': 'a note' }
    } as unknown as Intent;
    expect(intentOf('a.ipynb', FORM, draftOf(intent, SCHEMAS), trans)).toEqual({ intent, problems: {} });
  });

  it('is kept without secrets, and without what the notebook no longer has', () => {
    const entry = { text: 'x', isSwept: false };
    const draft: Draft = { ...EMPTY, parameters: { api_key: entry, gone: entry, lr: entry } };
    expect(Object.keys(withoutSecrets(draft, SCHEMAS).parameters)).toEqual(['gone', 'lr']);
    expect(Object.keys(declared(draft, SCHEMAS).parameters)).toEqual(['api_key', 'lr']);
  });
});
