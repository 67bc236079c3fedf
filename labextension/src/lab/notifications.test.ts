import { expect, it } from 'vitest';

import type { Happening, Run } from '../api';
import { fakeHost } from '../test/surroundings';
import { Notifications, type Wanted } from './notifications';

const ALL: Wanted = { runs: 'all', people: true };

function changed(run: Partial<Run>): Happening {
  const whole = { run_id: 'r1', name: 'brave-otter', user: 'ada', ...run } as Run;
  return { number: 1, kind: 'run.changed', owner: 'ada', target: whole.run_id, at: 0, run: whole };
}

it('an own run that ends is told of once, with the reason', () => {
  const host = fakeHost();
  const notifications = new Notifications(host, 'ada');
  const failed = changed({ status: 'FAILED', reason: { kind: 'cell error', message: 'KeyError', traceback: 'in cell 7' } });
  notifications.tell([changed({ status: 'RUNNING' }), failed, failed], ALL);
  expect(host.toast).toHaveBeenCalledOnce();
  expect(host.toast).toHaveBeenCalledWith(
    'brave-otter failed: KeyError',
    'error',
    expect.objectContaining({ details: 'in cell 7' })
  );
});

it.each<[string, Partial<Run>, Wanted]>([
  ['is somebody else’s', { user: 'eve' }, ALL],
  ['is one of a sweep', { parent_run_id: 'r0' }, ALL],
  ['did not fail, where only failures are wanted', {}, { ...ALL, runs: 'failed' }],
  ['nobody wants to hear of', {}, { ...ALL, runs: 'none' }]
])('a run that %s is not', (_, run, wanted) => {
  const host = fakeHost();
  const notifications = new Notifications(host, 'ada');
  notifications.tell([changed({ ...run, status: 'RUNNING' }), changed({ ...run, status: 'FINISHED' })], wanted);
  expect(host.toast).not.toHaveBeenCalled();
});

it('a mention leads to the request', () => {
  const host = fakeHost();
  const detail = { request_id: 'q1', alias: 'production', text: '@ada which data?' };
  const mention = { number: 1, kind: 'promotion.mentioned', owner: 'group:x', target: 'churn', at: 0, detail };
  new Notifications(host, 'ada').tell([mention], ALL);
  expect(host.toast).toHaveBeenCalledWith(
    'You are mentioned: churn → production',
    'info',
    expect.objectContaining({ details: '@ada which data?' })
  );
});
