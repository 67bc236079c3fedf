import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it } from 'vitest';

import evidence from '../test/answers/evidence.json';
import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import type { Host } from '../view';
import { ReviewView } from '.';

const ID = evidence.promotion.request_id;
const BY_LEAD = { ...evidence, refused: { withdraw: "'ann' asked for it, and only they can withdraw it" } };
const PAGE = { url: 'https://hub.example/services/mlops/', protected: true };

function answers(of: unknown): Answers {
  const { promotion } = of as typeof evidence;
  return {
    [`GET api/v1/promotions/${ID}/evidence`]: of,
    [`POST api/v1/promotions/${ID}/approve`]: { ...promotion, state: 'promoted', missing: [] },
    [`POST api/v1/promotions/${ID}/reject`]: { ...promotion, state: 'rejected' },
    [`GET api/v1/promotions/${ID}`]: promotion,
    'GET api/v1/page': PAGE
  };
}

/** As the service's page shows it. */
function shown(of: unknown, host: Partial<Host> = {}): FakeServer {
  const server = new FakeServer(answers(of), false);
  show(<ReviewView view="review" requestId={ID} />, server, fakeHost({ kind: 'page', commands: null, ...host }));
  return server;
}

describe('a request', () => {
  it('is shown with what a reviewer needs, and nothing in it is markup', async () => {
    shown(BY_LEAD);
    await screen.findByRole('heading', { name: /churn.*v3 → production/ });
    const text = document.body.textContent;
    for (const part of [
      'now v2',
      'Better recall on new customers; same features.',
      "the check 'loads' is not done yet",
      'waiting for a worker',
      'auc 0.907 → 0.914',
      'scikit-learn 1.8.0 → 1.9.1',
      'depth 5 → 7',
      'the same as before',
      'Notebook: 3 lines changed',
      'billing-api',
      '<img src=x onerror=window.pwned=1>',
      '<script>window.pwned=1</script>'
    ]) {
      expect(text).toContain(part);
    }
    expect(document.body.querySelector('img, script')).toBeNull();
    expect(screen.getAllByText('@ann').map(({ tagName }) => tagName)).toContain('STRONG');
  });

  it('is approved in the round that was looked at', async () => {
    const { asked } = shown(BY_LEAD);
    await userEvent.click(await screen.findByRole('button', { name: 'Approve' }));
    await userEvent.type(screen.getByLabelText(/^Why/), 'fine');
    const form = screen.getByLabelText(/^Why/).closest('form');
    await userEvent.click(within(form as HTMLElement).getByRole('button', { name: 'Approve' }));
    await waitFor(() =>
      expect(asked).toContainEqual({
        what: `POST api/v1/promotions/${ID}/approve`,
        body: { reason: 'fine', round: 1 }
      })
    );
  });

  it('is not rejected without a reason', async () => {
    const { asked } = shown(BY_LEAD);
    await userEvent.click(await screen.findByRole('button', { name: 'Reject' }));
    const form = screen.getByLabelText('Why').closest('form') as HTMLElement;
    const button = within(form).getByRole('button', { name: 'Reject' });
    expect(button).toHaveProperty('disabled', true);
    await userEvent.type(screen.getByLabelText('Why'), 'slow{enter}');
    await userEvent.click(button);
    await waitFor(() => expect(asked.map(({ what }) => what)).toContain(`POST api/v1/promotions/${ID}/reject`));
  });

  it('says beside the buttons why they cannot be used, in the server’s words', async () => {
    shown(evidence);
    const approve = await screen.findByRole('button', { name: 'Approve' });
    expect(approve).toHaveProperty('disabled', true);
    const said = document.getElementById(approve.getAttribute('aria-describedby') ?? '');
    expect(said?.textContent).toContain("this needs the scope 'promote', which 'ann' lacks");
    expect(screen.getByRole('button', { name: 'Withdraw' })).toHaveProperty('disabled', false);
  });

  it('is decided about on the service’s page, not in JupyterLab', async () => {
    shown(BY_LEAD, { kind: 'lab' });
    const link = await screen.findByRole('link', { name: /Decide on the service/ });
    expect(link.getAttribute('href')).toBe(`${PAGE.url}requests/${ID}`);
    expect(link.getAttribute('rel')).toContain('noopener');
    expect(screen.queryByRole('button', { name: 'Approve' })).toBeNull();
  });

  it('has no buttons once it is closed', async () => {
    const promotion = { ...evidence.promotion, state: 'rejected', outcome: 'too slow', missing: [] };
    shown({ ...evidence, promotion });
    await screen.findByText('too slow');
    expect(screen.queryByRole('button', { name: 'Approve' })).toBeNull();
  });
});
