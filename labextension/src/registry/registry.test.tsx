import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import type { ReactElement } from 'react';
import { describe, expect, it } from 'vitest';

import type { AliasStanding, RegisteredModel } from '../api';
import { Share } from '../components';
import evidence from '../test/answers/evidence.json';
import recorded from '../test/answers/standing.json';
import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import { Promote } from './Promote';
import { RollBack } from './RollBack';

const standing = recorded as unknown as AliasStanding;
const model: RegisteredModel = { name: 'churn', owner: 'group:red', created: 0, updated: 0 };
const versions = [{ model: 'churn', version: 3, created: 0, updated: 0, user: 'ann' }];

/** As the service's page shows it. */
function shown(element: ReactElement, answers: Answers): { readonly asked: FakeServer['asked']; readonly unmount: () => void } {
  const server = new FakeServer(answers, false);
  const { unmount } = show(element, server, fakeHost({ kind: 'page', commands: null, hub: 'https://hub.example/hub/' }));
  return { asked: server.asked, unmount };
}

describe('asking for promotion', () => {
  const form = <Promote model={model} versions={versions} onClose={() => undefined} />;

  it('says what it takes, and asks', async () => {
    const { asked } = shown(form, {
      'GET api/v1/promotions/standing': { ...standing, refused: {} },
      'POST api/v1/promotions': evidence.promotion
    });
    await screen.findByText('Checks that must pass: loads, metric.');
    await userEvent.type(screen.getByLabelText('Reason'), 'better');
    await userEvent.click(screen.getByRole('button', { name: 'Ask' }));
    await waitFor(() =>
      expect(asked).toContainEqual({
        what: 'POST api/v1/promotions',
        body: { model: 'churn', version: 3, alias: 'production', reason: 'better' }
      })
    );
  });

  it('knows that a policy which names no checks asks for the usual one, and one with none for none', async () => {
    const policy = { ...standing.policy, checks: undefined };
    const { unmount } = shown(form, { 'GET api/v1/promotions/standing': { ...standing, policy } });
    await screen.findByText('Checks that must pass: loads.');
    unmount();
    shown(form, { 'GET api/v1/promotions/standing': { ...standing, policy: { ...policy, checks: [] } } });
    await screen.findByText('No checks.');
  });

  it('says at once when nobody could approve it', async () => {
    const refused = { request: 'nobody could approve this: let somebody else ask' };
    shown(form, { 'GET api/v1/promotions/standing': { ...standing, refused } });
    expect((await screen.findByRole('alert')).textContent).toBe(refused.request);
    expect(screen.getByRole('button', { name: 'Ask' })).toHaveProperty('disabled', true);
  });
});

describe('rolling back', () => {
  it('shows first whom it reaches, and goes where it said', async () => {
    const { asked } = shown(<RollBack standing={standing} onClose={() => undefined} />, {
      'POST api/v1/promotions/rollback': evidence.promotion
    });
    expect(screen.getByText('billing-api')).toBeTruthy();
    await userEvent.type(screen.getByLabelText('Why'), 'worse');
    await userEvent.click(screen.getByRole('button', { name: 'Roll back to version 1' }));
    await waitFor(() =>
      expect(asked).toContainEqual({
        what: 'POST api/v1/promotions/rollback',
        body: { model: 'churn', alias: 'production', reason: 'worse', to: 1 }
      })
    );
  });
});

describe('sharing', () => {
  it('has links for the page and for a colleague’s own JupyterLab', async () => {
    shown(<Share address={{ view: 'registry', model: 'a b' }} />, {
      'GET api/v1/page': { url: '/services/mlops/', protected: false }
    });
    const page = await screen.findByRole('button', { name: 'Copy link to the page', hidden: true });
    expect(page.title).toMatch(/\/services\/mlops\/models\/a%20b$/);
    const lab = screen.getByRole('button', { name: 'Copy link for JupyterLab', hidden: true });
    expect(lab.title).toBe('https://hub.example/hub/user-redirect/lab?mlops=models%2Fa%2520b');
  });
});
