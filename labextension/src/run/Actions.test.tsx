import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';

import type { Run } from '../api';
import { RERUN_WITH_EDITS, RETRY } from '../lab/commandIds';
import finished from '../test/run/finished.json';
import { fakeHost, FakeServer, show } from '../test/surroundings';
import { Actions } from './Actions';

const RUN = finished as unknown as Run;

/** Shows it; gives what commands are executed by. */
function offered(other: Partial<Run>): ReturnType<typeof vi.fn> {
  const execute = vi.fn(() => Promise.resolve());
  const host = fakeHost({ commands: { has: () => true, execute } });
  show(<Actions run={{ ...RUN, ...other }} />, new FakeServer({}), host);
  return execute;
}

function buttons(): (string | null)[] {
  return screen.getAllByRole('button').map(button => button.textContent);
}

describe('what can be done with a run', () => {
  it('is to repeat a notebook, as it was or with edits', () => {
    offered({ kind: 'notebook', status: 'FINISHED' });
    expect(buttons().slice(0, 3)).toEqual(['Re-run', 'Re-run with edits…', 'Reproduce']);
  });

  it('is to finish a sweep that lacks points, and to sweep with edits', async () => {
    const execute = offered({ kind: 'sweep', status: 'KILLED' });
    expect(buttons().slice(0, 2)).toEqual(['Run what is missing', 'Re-run with edits…']);
    await userEvent.click(screen.getByRole('button', { name: 'Run what is missing' }));
    await userEvent.click(screen.getByRole('button', { name: 'Re-run with edits…' }));
    const args = { runId: RUN.run_id };
    expect(execute).toHaveBeenNthCalledWith(1, RETRY, args);
    expect(execute).toHaveBeenNthCalledWith(2, RERUN_WITH_EDITS, args);
  });

  it('is nothing of that for what no notebook made', () => {
    offered({ kind: 'session', status: 'FINISHED' });
    expect(buttons()[0]).toBe('Register model');
  });
});
