import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it } from 'vitest';

import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import { TokensView } from './TokensView';

const ID = '0123456789abcdef0123456789abcdef';
const token = {
  token_id: ID,
  name: 'nightly',
  owner: 'group:red',
  scope: 'write',
  user: 'ann',
  created: 0,
  expires: Date.now() + 86_400_000
};
const answers: Answers = {
  'GET api/v1/principal': { name: 'ann', groups: ['red'] },
  'GET api/v1/access-tokens': [token],
  'POST api/v1/access-tokens': { ...token, secret: 'mlops_access_x' },
  [`DELETE api/v1/access-tokens/${ID}`]: new Response(null, { status: 204 })
};

describe('access tokens on the service’s page', () => {
  it('are made for a group, and shown once', async () => {
    const server = new FakeServer(answers, false);
    show(<TokensView />, server, fakeHost({ kind: 'page', commands: null }));
    await userEvent.type(screen.getByLabelText('What it is for'), ' nightly ');
    await screen.findByRole('option', { name: 'group:red' });
    await userEvent.selectOptions(screen.getByLabelText('On whose things it works'), 'group:red');
    await userEvent.selectOptions(screen.getByLabelText('How long it counts'), '30');
    await userEvent.click(screen.getByRole('button', { name: 'Make the token' }));
    expect((await screen.findByRole('status')).textContent).toContain('mlops_access_x');
    expect(server.asked).toContainEqual({
      what: 'POST api/v1/access-tokens',
      body: { name: 'nightly', scope: 'write', days: 30, owner: 'group:red' }
    });
    await userEvent.click(screen.getByRole('button', { name: 'I have it' }));
    expect(screen.queryByText('mlops_access_x')).toBeNull();
  });

  it('are revoked when that was confirmed', async () => {
    const server = new FakeServer(answers, false);
    show(<TokensView />, server, fakeHost({ kind: 'page', commands: null }));
    await userEvent.click(await screen.findByRole('button', { name: 'Revoke nightly' }));
    await waitFor(() =>
      expect(server.asked.map(({ what }) => what)).toContain(`DELETE api/v1/access-tokens/${ID}`)
    );
  });
});

describe('access tokens in JupyterLab', () => {
  it('are only listed', async () => {
    show(<TokensView />, new FakeServer({ ...answers, 'GET api/v1/page': { url: 'https://hub.example/', protected: true } }));
    await screen.findByText('nightly');
    expect(screen.queryByRole('button', { name: 'Revoke nightly' })).toBeNull();
    expect(screen.queryByLabelText('What it is for')).toBeNull();
  });
});
