import { Dialog } from '@jupyterlab/apputils';
import type { KernelSpec } from '@jupyterlab/services';
import { CommandRegistry } from '@lumino/commands';
import { configure, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { createApi, createCache, Events, type Intent } from '../api';
import { RERUN, RERUN_WITH_EDITS, RUN } from '../lab/commandIds';
import { type Answers, fakeHost, FakeServer } from '../test/surroundings';
import type { Notebooks } from './notebooks';
import { Running } from './running';

const PATH = 'churn.ipynb';
const RUN_ID = 'a'.repeat(32);
const FORM = {
  path: PATH,
  kernel: 'python3',
  language: 'python',
  experiment: 'churn',
  has_parameters_cell: true,
  engines: [
    { name: 'fork', needs_cluster: false },
    { name: 'dask', needs_cluster: true },
    { name: 'local', needs_cluster: false }
  ],
  parameters: {
    properties: {
      lr: { type: 'number', default: 0.01, description: 'step size' },
      depth: { type: 'integer' },
      api_key: { type: 'string', writeOnly: true }
    }
  }
};
const JOB = { run_id: RUN_ID, name: 'brave-otter', path: PATH, is_sweep: false, status: 'SCHEDULED', submitted: 1 };

/** As the server plans, as far as these tests need it. */
function planned({ grid = [], optimize, trials, stop = [] }: Intent): object {
  const problems = stop.includes('soon') ? [{ field: 'stop', message: "'soon' is no rule" }] : [];
  const runs = grid.length === 0 ? 1 : optimize == null ? 4 : (trials ?? 20);
  return { runs, at_once: Math.min(runs, 2), ends_with_server: true, problems };
}

const ANSWERS: Answers = {
  'GET server/v1/notebook#churn.ipynb': FORM,
  'GET api/v1/principal': { name: 'ada', groups: ['growth'], scope: 2 },
  'POST api/v1/search/experiments': { items: [] },
  'POST server/v1/plan': planned,
  'POST server/v1/runs': JOB,
  'POST server/v1/sweeps': { ...JOB, is_sweep: true }
};

configure({ asyncUtilTimeout: 3000 });

/** A browser that has just loaded the page: only what it keeps is as before. */
function loaded(answers: Answers = ANSWERS): {
  readonly commands: CommandRegistry;
  readonly server: FakeServer;
  readonly host: ReturnType<typeof fakeHost>;
  readonly save: ReturnType<typeof vi.fn>;
} {
  const server = new FakeServer(answers);
  const host = fakeHost();
  const save = vi.fn(() => Promise.resolve());
  const commands = new CommandRegistry();
  const around = { host, api: createApi(server), cache: createCache(), events: new Events(server) };
  const notebooks = { save, current: () => PATH, insertParametersCell: vi.fn() } as unknown as Notebooks;
  new Running(around, { specs: null } as KernelSpec.IManager, notebooks, () => true).addTo(commands);
  return { commands, server, host, save };
}

function field(name: string): Promise<HTMLInputElement> {
  return screen.findByLabelText<HTMLInputElement>(name);
}

async function fill(values: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(values)) {
    const input = await field(name);
    await userEvent.clear(input);
    await userEvent.type(input, text);
  }
}

async function press(name: string): Promise<void> {
  await userEvent.click(await screen.findByRole('button', { name }));
}

// The form takes its time to be read, which is no part of what is examined.
beforeAll(() => import('../runform/dialog'), 120_000);

describe('running a notebook', () => {
  beforeEach(() => window.localStorage.clear());
  afterEach(() => Dialog.flush());

  it('saves it, asks for its parameters, and submits what was entered', async () => {
    const { commands, server, host, save } = loaded();
    const done = commands.execute(RUN, {});
    expect((await field('lr')).placeholder).toBe('0.01');
    expect(screen.getByText('step size')).toBeTruthy();
    expect(save).toHaveBeenCalledWith(PATH);
    await fill({ depth: 'deep' });
    expect((await screen.findByRole('alert')).textContent).toContain('whole number');
    await press('Run');
    expect(server.bodies('POST server/v1/runs')).toEqual([]);
    await fill({ depth: '7', Experiment: 'trial', api_key: 'hush' });
    expect(await screen.findByText('1 run; it ends if this server is stopped.')).toBeTruthy();
    await press('Run');
    await done;
    expect(server.bodies('POST server/v1/runs')).toEqual([
      { path: PATH, parameters: { depth: 7, api_key: 'hush' }, experiment: 'trial' }
    ]);
    expect(host.opened).toEqual([{ view: 'run', runId: RUN_ID }]);
  });

  it('shows after a reload what was entered last, without secrets', async () => {
    const first = loaded();
    const done = first.commands.execute(RUN, {});
    await fill({ depth: '7', api_key: 'hush' });
    await press('Run');
    await done;
    expect(JSON.stringify(window.localStorage)).not.toContain('hush');
    const second = loaded();
    const again = second.commands.execute(RUN, {});
    expect((await field('depth')).value).toBe('7');
    expect((await field('api_key')).value).toBe('');
    await press('Cancel');
    expect(await again).toBeNull();
    expect(second.server.bodies('POST server/v1/runs')).toEqual([]);
  });

  it('sweeps what is set to sweep, with rules and a budget', async () => {
    const { commands, server } = loaded();
    const done = commands.execute(RUN, {});
    await press('Sweep lr');
    await fill({ lr: '0.1, 0.2', depth: '3', 'Stop a run': 'nan, soon', 'Begin none after': '2h' });
    expect(await screen.findByText("'soon' is no rule")).toBeTruthy();
    expect((await field('Stop a run')).getAttribute('aria-describedby')).toContain('error');
    await fill({ 'Stop a run': 'nan, loss>100' });
    expect(await screen.findByText('4 runs, 2 at a time; they end if this server is stopped.')).toBeTruthy();
    await press('Start the sweep');
    await done;
    expect(server.bodies('POST server/v1/sweeps')).toEqual([
      { path: PATH, parameters: { depth: 3 }, grid: ['lr=0.1, 0.2'], stop: ['nan', 'loss>100'], budget: '2h' }
    ]);
  });

  it('searches for the best, once it is told by which metric', async () => {
    const { commands, server } = loaded();
    const done = commands.execute(RUN, {});
    await press('Sweep lr');
    await fill({ lr: 'uniform(0, 1)' });
    await userEvent.selectOptions(await field('Points'), 'a search for the best');
    expect(await screen.findByText(/Write the name of the metric/)).toBeTruthy();
    await press('Start the sweep');
    expect(server.bodies('POST server/v1/sweeps')).toEqual([]);
    await fill({ 'Metric to optimize': 'loss', 'How many': '12', Seed: '7' });
    await userEvent.selectOptions(await field('The best run has'), 'the lowest value');
    await userEvent.selectOptions(await field('Proposed by'), 'gp');
    expect(await screen.findByText(/^12 runs, 2 at a time/)).toBeTruthy();
    await press('Start the sweep');
    await done;
    const search = { optimize: 'minimize:loss', trials: 12, sampler: 'gp', seed: 7 };
    expect(server.bodies('POST server/v1/sweeps')).toEqual([
      { path: PATH, parameters: {}, grid: ['lr=uniform(0, 1)'], ...search }
    ]);
  });

  it('sweeps on a cluster, which is asked for by engines that need one', async () => {
    const { commands, server } = loaded();
    const done = commands.execute(RUN, {});
    await press('Sweep lr');
    await fill({ lr: '0.1, 0.2' });
    expect(screen.queryByLabelText('Cluster')).toBeNull();
    await userEvent.selectOptions(await field('Engine'), 'dask: on the workers of a cluster');
    await fill({ Cluster: 'gateway:https://hub/services/dask-gateway', 'Run again': '2' });
    await press('Start the sweep');
    await done;
    const elsewhere = { engine: 'dask', cluster: 'gateway:https://hub/services/dask-gateway', retries: 2 };
    expect(server.bodies('POST server/v1/sweeps')).toEqual([
      { path: PATH, parameters: {}, grid: ['lr=0.1, 0.2'], ...elsewhere }
    ]);
  });

  it('again asks for secrets, and runs with them what was run', async () => {
    const at = `server/v1/jobs/${RUN_ID}`;
    const { commands, server } = loaded({ ...ANSWERS, [`GET ${at}`]: { ...JOB, secrets: ['api_key'] }, [`POST ${at}/retry`]: JOB });
    const done = commands.execute(RERUN, { runId: RUN_ID });
    const dialog = within(await screen.findByRole('dialog'));
    await userEvent.type(dialog.getByLabelText('api_key'), 'hush');
    await userEvent.click(dialog.getByRole('button', { name: 'Run again' }));
    await done;
    expect(server.bodies(`POST ${at}/retry`)).toEqual([{ parameters: { api_key: 'hush' } }]);
  });

  it('with edits begins with what it was run with', async () => {
    const intent = { path: PATH, parameters: { depth: 3 }, grid: ['lr=0.1,0.2'], optimize: 'minimize:loss', trials: 5 };
    const { commands, server } = loaded({ ...ANSWERS, [`GET server/v1/runs/${RUN_ID}/intent`]: intent });
    const done = commands.execute(RERUN_WITH_EDITS, { runId: RUN_ID });
    expect((await field('depth')).value).toBe('3');
    expect((await field('lr')).value).toBe('0.1,0.2');
    expect((await field('Metric to optimize')).value).toBe('loss');
    await fill({ depth: '4' });
    await waitFor(() => expect(screen.getByRole('status').textContent).toMatch(/^5 runs/));
    await press('Start the sweep');
    await done;
    expect(server.bodies('POST server/v1/sweeps')).toEqual([{ ...intent, parameters: { depth: 4 } }]);
  });
});
