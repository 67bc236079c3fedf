/** What the user chose for an experiment's table, remembered by the browser. */
import { useCallback, useState } from 'react';

import type { RunsAddress } from '../view';
import { type Choice, NO_CHOICE } from './choice';

const PREFIX = 'jupyter-mlops:runs:';

/** What was chosen last, with what the address says. */
export function useChoice({ experimentId, filter, order }: RunsAddress): [Choice, (change: Partial<Choice>) => void] {
  const [choice, setChoice] = useState<Choice>(() => {
    const known = remembered(experimentId);
    return { ...known, filter: filter ?? known.filter, order: order ?? known.order };
  });
  const choose = useCallback(
    (change: Partial<Choice>) =>
      setChoice(before => {
        const after = { ...before, ...change };
        window.localStorage.setItem(PREFIX + experimentId, JSON.stringify(after));
        return after;
      }),
    [experimentId]
  );
  return [choice, choose];
}

function remembered(experimentId: string): Choice {
  try {
    const kept = window.localStorage.getItem(PREFIX + experimentId);
    return { ...NO_CHOICE, ...(JSON.parse(kept ?? '{}') as Partial<Choice>) };
  } catch {
    return NO_CHOICE;
  }
}
