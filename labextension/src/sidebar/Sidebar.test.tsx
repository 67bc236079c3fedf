import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeEach, describe, expect, it } from 'vitest';

import { VERSION } from '../api';
import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import { Sidebar } from '.';

const NOW = Date.now();
const STATUS = {
  version: VERSION,
  url: 'https://hub/services/mlops',
  is_service: true,
  connected: true,
  owner: 'ada',
  working: 1,
  waiting: 0,
  limit: 2,
  spool: { waiting: 0, refused: 0 }
};
const ANSWERS: Answers = {
  'GET api/v1/principal': { name: 'ada', groups: ['churn'], scope: 2 },
  'GET api/v1/promotions/waiting': {
    decide: [
      { request_id: 'q1', model: 'churn', version: 7, alias: 'production', requester: 'eve', created: NOW - 60_000 }
    ]
  },
  'GET server/v1/jobs': { jobs: [{ run_id: 'r1', name: 'brave-otter', status: 'RUNNING' }] },
  'GET server/v1/status': STATUS,
  'POST api/v1/search/experiments': {
    items: [
      { experiment_id: 'e1', name: 'churn', owner: 'group:churn', created: 1, runs: 12, last_run: NOW - 120_000 },
      { experiment_id: 'e2', name: 'fraud', owner: 'ada', created: 2, runs: 1, last_run: NOW - 60_000 },
      { experiment_id: 'e3', name: '<img src=x onerror=alert(1)>', owner: 'eve', created: 3 }
    ]
  },
  'POST api/v1/search/models': { items: [{ name: 'churn', aliases: [{ alias: 'production', version: 6 }] }] },
  'POST api/v1/search/promotions': { items: [{ request_id: 'q1', model: 'churn', version: 7 }] },
  'POST api/v1/search/runs': {
    items: [
      {
        run_id: 'r1',
        experiment_id: 'e1',
        name: 'brave-otter',
        kind: 'notebook',
        status: 'RUNNING',
        user: 'ada',
        created: NOW,
        start_time: NOW,
        progress: { done: 4, total: 9 }
      }
    ]
  },
  'POST server/v1/jobs/r1/cancel': {}
};

function part(name: string): Promise<HTMLElement> {
  return screen.findByRole('region', { name });
}

describe('the sidebar', () => {
  beforeEach(() => window.localStorage.clear());

  it('shows experiments, the one that ran last first, and marks where something runs', async () => {
    show(<Sidebar />, new FakeServer(ANSWERS));
    const experiments = within(await part('Experiments'));
    const rows = await experiments.findAllByRole('button', { name: /run/ });
    const names = ['fraud', 'churn', 'onerror'];
    expect(rows).toHaveLength(names.length);
    names.forEach((name, place) => expect(rows[place]?.textContent).toContain(name));
    expect(await experiments.findByRole('img', { name: 'running' })).toBeTruthy();
  });

  it('shows only what is asked for, and remembers whose', async () => {
    const user = userEvent.setup();
    const { unmount } = show(<Sidebar />, new FakeServer(ANSWERS));
    await screen.findByText('fraud');
    await user.selectOptions(screen.getByLabelText('Whose experiments'), 'team');
    expect(screen.queryByText('fraud')).toBeNull();
    unmount();
    show(<Sidebar />, new FakeServer(ANSWERS));
    await waitFor(() => expect(screen.getAllByText('churn').length).toBeGreaterThan(1));
    expect(screen.queryByText('fraud')).toBeNull();
    await user.type(screen.getByRole('searchbox'), 'zzz');
    expect(await screen.findByText('None is like that.')).toBeTruthy();
  });

  it('follows a run cell by cell, and cancels it after a question', async () => {
    const server = new FakeServer(ANSWERS);
    const host = fakeHost();
    show(<Sidebar />, server, host);
    expect(await screen.findByRole('progressbar', { name: 'cell 4/9' })).toBeTruthy();
    await userEvent.click(await screen.findByRole('button', { name: 'Cancel brave-otter' }));
    expect(host.confirm).toHaveBeenCalledOnce();
    await waitFor(() => expect(server.asked.map(each => each.what)).toContain('POST server/v1/jobs/r1/cancel'));
  });

  it('leads to what waits for the user', async () => {
    const host = fakeHost();
    show(<Sidebar />, new FakeServer(ANSWERS), host);
    const waiting = within(await part('Waiting for you (1)'));
    await userEvent.click(waiting.getByRole('button'));
    expect(host.opened).toEqual([{ view: 'review', requestId: 'q1' }]);
    expect(await screen.findByText('v7 waiting')).toBeTruthy();
  });

  it('says how things stand', async () => {
    const warnings = ["'ada' uses 95 % of its quota"];
    const away = { ...STATUS, connected: false, spool: { waiting: 12, refused: 1 }, warnings };
    show(<Sidebar />, new FakeServer({ ...ANSWERS, 'GET server/v1/status': away }));
    expect(await screen.findByText(/service is away/)).toBeTruthy();
    expect(screen.getByText('12 entries wait to be sent, 1 entry was refused')).toBeTruthy();
    expect(screen.getByText("'ada' uses 95 % of its quota")).toBeTruthy();
  });

  it('says what to do without the server extension, and with another version of it', async () => {
    const { unmount } = show(<Sidebar />, new FakeServer({}));
    expect(await screen.findByText(/jupyter server extension enable jupyter_mlops/)).toBeTruthy();
    unmount();
    show(<Sidebar />, new FakeServer({ ...ANSWERS, 'GET server/v1/status': { ...STATUS, version: '0.0.1' } }));
    expect(await screen.findByText(/server extension version 0.0.1/)).toBeTruthy();
  });

  it('says what to do first, where there is nothing', async () => {
    const empty = { items: [] };
    show(
      <Sidebar />,
      new FakeServer({
        ...ANSWERS,
        'GET api/v1/promotions/waiting': {},
        'POST api/v1/search/experiments': empty,
        'POST api/v1/search/models': empty,
        'POST api/v1/search/runs': empty
      })
    );
    expect(await screen.findByText(/run a notebook/)).toBeTruthy();
    expect(await screen.findByText(/register the model/)).toBeTruthy();
    expect(screen.queryByText(/Waiting for you/)).toBeNull();
  });
});
