/** What a person chose, kept by their browser. */
import { useCallback, useState } from 'react';

import { useApi } from '../api/context';

/**
 * As `useState`, and kept for the next time under `name`. What was kept by another version, or somebody wrote there,
 * counts only where `isValid` says so.
 */
export function useRemembered<T>(
  name: string,
  first: T,
  isValid: (value: unknown) => value is T
): [T, (value: T) => void] {
  const key = `jupyter-mlops:${useApi().connection.baseUrl}:${name}`;
  const [value, setValue] = useState<T>(() => {
    const kept = read(key);
    return isValid(kept) ? kept : first;
  });
  const remember = useCallback(
    (chosen: T) => {
      setValue(chosen);
      try {
        window.localStorage.setItem(key, JSON.stringify(chosen));
      } catch {
        // Without room, or where browsers keep nothing, it is chosen for now.
      }
    },
    [key]
  );
  return [value, remember];
}

function read(key: string): unknown {
  try {
    return JSON.parse(window.localStorage.getItem(key) ?? 'null');
  } catch {
    return null;
  }
}
