/** What the user chose for an experiment's table, remembered by the browser. */
import { useCallback, useState } from 'react';

import { type Choice, NO_CHOICE } from './choice';

const PREFIX = 'jupyter-mlops:columns:';

export function useChoice(experimentId: string): [Choice, (choice: Choice) => void] {
  const [choice, setChoice] = useState(() => remembered(experimentId));
  const choose = useCallback(
    (chosen: Choice) => {
      setChoice(chosen);
      window.localStorage.setItem(PREFIX + experimentId, JSON.stringify(chosen));
    },
    [experimentId]
  );
  return [choice, choose];
}

function remembered(experimentId: string): Choice {
  try {
    return { ...NO_CHOICE, ...(JSON.parse(window.localStorage.getItem(PREFIX + experimentId) ?? '{}') as Partial<Choice>) };
  } catch {
    return NO_CHOICE;
  }
}
