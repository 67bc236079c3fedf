/** What the user chose for an experiment's table, remembered by the browser. */
import { useCallback, useState } from 'react';

import { Memory, type RunsAddress, useApi } from '../view';
import { type Choice, NO_CHOICE } from './choice';

/** What was chosen last, with what the address says. */
export function useChoice({ experimentId, filter, order, look }: RunsAddress): [Choice, (change: Partial<Choice>) => void] {
  const api = useApi();
  const name = `runs:${experimentId}`;
  const [choice, setChoice] = useState<Choice>(() => {
    const kept = { ...NO_CHOICE, ...(new Memory(api).recall(name) as Partial<Choice> | null) };
    return { ...kept, filter: filter ?? kept.filter, order: order ?? kept.order, look: look ?? kept.look };
  });
  const choose = useCallback(
    (change: Partial<Choice>) =>
      setChoice(before => {
        const after = { ...before, ...change };
        new Memory(api).keep(name, after);
        return after;
      }),
    [api, name]
  );
  return [choice, choose];
}
