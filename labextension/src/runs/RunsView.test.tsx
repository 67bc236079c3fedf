import { configure, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import { RunsView } from '.';

const EXPERIMENT = 'e'.repeat(32);
const SEARCH = 'POST api/v1/search/runs';
const START = 1_700_000_000_000;

interface Search {
  readonly filter: string;
  readonly order_by?: readonly string[];
  readonly view?: string;
}

function run(number: number, other: object = {}): object {
  return {
    run_id: String(number).padStart(32, '0'),
    experiment_id: EXPERIMENT,
    name: `run-${number}`,
    kind: 'notebook',
    status: 'FINISHED',
    user: 'ada',
    created: START - number,
    start_time: START - number,
    end_time: START + 1000,
    source: 'train.ipynb',
    params: [
      { key: 'depth', value: number, text: String(number) },
      { key: 'seed', value: 0, text: '0' }
    ],
    metrics: [{ key: 'auc', value: 0.9 - number / 100, timestamp: START, step: 1, count: 2, min: 0, max: 1 }],
    ...other
  };
}

const ALONE = [run(1), run(2), run(3)];
const SWEEP = run(9, { kind: 'sweep', name: 'a-sweep', params: [], metrics: [] });
const CHILDREN = [4, 5].map(number => run(number, { parent_run_id: '9'.padStart(32, '0') }));

/** As the server finds: sweeps with their children apart from what stands alone. */
function found({ filter }: Search): unknown {
  if (filter.includes('broken')) {
    return Response.json({ error: 'InvalidValue', message: 'broken at 1' }, { status: 400 });
  }
  if (filter.includes('parent_run_id IN')) {
    return { items: CHILDREN };
  }
  return { items: filter.includes('IS NULL') ? [SWEEP, ...ALONE] : [SWEEP, ...CHILDREN, ...ALONE] };
}

const ANSWERS: Answers = {
  [SEARCH]: found,
  'POST api/v1/search/experiments': {
    items: [{ experiment_id: EXPERIMENT, name: 'churn', owner: 'group:growth', created: START, runs: 6 }]
  },
  [`GET api/v1/runs/${'9'.padStart(32, '0')}/children`]: CHILDREN,
  ...Object.fromEntries(
    [1, 2].flatMap(number => [
      [`DELETE api/v1/runs/${String(number).padStart(32, '0')}`, {}],
      [`POST api/v1/runs/${String(number).padStart(32, '0')}/restore`, {}]
    ])
  )
};

const drawn = vi.hoisted(() => ({ listeners: new Map<string, (event: unknown) => void>(), options: [] as object[] }));

// Nothing can be drawn here; what is drawn and said is all that is looked at.
vi.mock('../components/chart/echarts', () => ({
  init: () => ({
    setOption: (option: object) => void drawn.options.push(option),
    on: (name: string, told: (event: unknown) => void) => void drawn.listeners.set(name, told),
    off: vi.fn(),
    resize: vi.fn(),
    dispose: vi.fn(),
    dispatchAction: vi.fn()
  })
}));

configure({ asyncUtilTimeout: 5000 });

let server: FakeServer;

function look(address: { filter?: string; look?: 'chart' | 'table' } = {}): {
  readonly host: ReturnType<typeof fakeHost>;
  readonly unmount: () => void;
} {
  const host = fakeHost();
  server = new FakeServer(ANSWERS);
  return { host, ...show(<RunsView view="runs" experimentId={EXPERIMENT} {...address} />, server, host) };
}

async function row(name: string): Promise<HTMLElement> {
  return (await screen.findByText(name)).closest<HTMLElement>('[role=row]') ?? document.body;
}

function lastSearch(): Search {
  return server.bodies(SEARCH).at(-1) as Search;
}

async function select(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await userEvent.click(within(await row(name)).getByRole('checkbox'));
  }
}

describe('the runs of an experiment', () => {
  beforeEach(() => {
    window.localStorage.clear();
    drawn.listeners.clear();
    drawn.options.length = 0;
    // Nothing is laid out here: each element is as large as a view.
    vi.spyOn(Element.prototype, 'clientWidth', 'get').mockReturnValue(1600);
    vi.spyOn(Element.prototype, 'clientHeight', 'get').mockReturnValue(600);
  });
  afterEach(() => vi.restoreAllMocks());

  it('stand in rows, a sweep in one that unfolds; what is the same in all is said once', async () => {
    look();
    await row('run-1');
    expect(screen.queryByText('run-4')).toBeNull();
    await userEvent.click(await screen.findByRole('button', { name: 'Unfold' }));
    expect((await row('run-4')).getAttribute('aria-level')).toBe('2');
    expect(screen.getByText('The same in all:').textContent).toContain('seed 0');
    expect(screen.queryByRole('columnheader', { name: /seed/ })).toBeNull();
  });

  it('are filtered by the server, whose refusal stands at the filter while the rows stay', async () => {
    look();
    const filter = await screen.findByRole('combobox', { name: 'Filter' });
    await row('run-1');
    await userEvent.type(filter, 'broken{Enter}');
    expect((await screen.findByRole('alert')).textContent).toBe('broken at 1');
    expect(await row('run-1')).toBeTruthy();
    await userEvent.clear(filter);
    await userEvent.type(filter, 'metrics.auc > 0.5 {Escape}{Enter}');
    await waitFor(() => expect(lastSearch().filter).toBe('metrics.auc > 0.5'));
    // Who looks for values sees single runs.
    expect(await row('run-4')).toBeTruthy();
  });

  it('are sorted by the server: descending, ascending, newest first', async () => {
    look();
    await row('run-1');
    const head = (): HTMLElement => screen.getByRole('columnheader', { name: /auc/ });
    for (const direction of ['DESC', 'ASC']) {
      await userEvent.click(head());
      await waitFor(() => expect(lastSearch().order_by).toEqual([`metrics.auc ${direction}`]));
      await row('run-1');
    }
    expect(head().getAttribute('aria-sort')).toBe('ascending');
    await userEvent.click(head());
    await waitFor(() => expect(head().hasAttribute('aria-sort')).toBe(false));
    expect(await screen.findByText('a-sweep')).toBeTruthy();
  });

  it('have the columns that were chosen, also the next time', async () => {
    const { unmount } = look();
    await row('run-1');
    await userEvent.click(screen.getByRole('button', { name: /Columns/ }));
    await userEvent.click(screen.getByRole('checkbox', { name: 'depth' }));
    expect(screen.queryByRole('columnheader', { name: /depth/ })).toBeNull();
    unmount();
    look();
    await row('run-1');
    expect(screen.queryByRole('columnheader', { name: /depth/ })).toBeNull();
    expect(screen.getByRole('columnheader', { name: /auc/ })).toBeTruthy();
  });

  it('are compared when two are selected', async () => {
    const { host } = look();
    await select('run-1');
    expect(screen.getByRole('button', { name: 'Compare 1' }).hasAttribute('disabled')).toBe(true);
    await select('run-2');
    await userEvent.click(screen.getByRole('button', { name: 'Compare 2' }));
    const runIds = ['1', '2'].map(number => number.padStart(32, '0'));
    await waitFor(() => expect(host.opened).toEqual([{ view: 'compare', runIds }]));
  });

  it('are deleted, and back when that is undone', async () => {
    const { host } = look();
    await select('run-1', 'run-2');
    await userEvent.click(screen.getByRole('button', { name: 'Delete' }));
    await waitFor(() => expect(host.toast).toHaveBeenCalled());
    const [said, , options] = vi.mocked(host.toast).mock.calls[0] ?? [];
    expect(said).toBe('Deleted 2 runs');
    options?.action?.run();
    const restored = (): string[] => server.asked.map(({ what }) => what).filter(what => what.endsWith('/restore'));
    await waitFor(() => expect(restored()).toHaveLength(2));
  });

  it('are shown on charts, single ones, and selected by what is drawn around them', async () => {
    look();
    await row('run-1');
    await userEvent.click(screen.getByRole('button', { name: 'Chart' }));
    expect(await screen.findByRole('heading', { name: 'Scatter' })).toBeTruthy();
    expect(screen.queryByRole('treegrid')).toBeNull();
    await waitFor(() => expect(lastSearch().filter).toBe(''));
    await waitFor(() => expect(screen.getByRole('img', { name: /^5 runs by depth and auc/ })).toBeTruthy());
    await waitFor(() => expect(drawn.listeners.has('brushSelected')).toBe(true));
    drawn.listeners.get('brushSelected')?.({ batch: [{ areas: [{}], selected: [{ dataIndex: [0, 1] }] }] });
    expect(await screen.findByText('2 selected')).toBeTruthy();
    // What was selected is so in the table, too.
    await userEvent.click(screen.getByRole('button', { name: 'Table' }));
    expect(await screen.findByText('2 selected')).toBeTruthy();
  });

  it('are shown as they were last, unless a link says otherwise', async () => {
    const { unmount } = look({ look: 'chart' });
    expect(await screen.findByRole('heading', { name: 'Scatter' })).toBeTruthy();
    unmount();
    const { unmount: leave } = look();
    await row('run-1');
    await userEvent.click(screen.getByRole('button', { name: 'Chart' }));
    await screen.findByRole('heading', { name: 'Scatter' });
    leave();
    look();
    expect(await screen.findByRole('heading', { name: 'Scatter' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Chart' }).getAttribute('aria-pressed')).toBe('true');
  });
});
