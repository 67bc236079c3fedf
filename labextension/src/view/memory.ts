/** What a person chose, kept by their browser. */
import { useCallback, useState } from 'react';

import type { Api } from '../api';
import { useApi } from '../api/context';

/** Keeps values by name, apart for each server. They come back as anything: another version may have kept them. */
export class Memory {
  constructor(private readonly _api: Api) {}

  recall(name: string): unknown {
    try {
      return JSON.parse(window.localStorage.getItem(this._key(name)) ?? 'null');
    } catch {
      return null;
    }
  }

  keep(name: string, value: unknown): void {
    try {
      window.localStorage.setItem(this._key(name), JSON.stringify(value));
    } catch {
      // Without room, or where browsers keep nothing, it is chosen for now.
    }
  }

  private _key(name: string): string {
    return `jupyter-mlops:${this._api.connection.baseUrl}:${name}`;
  }
}

/** As `useState`, and kept for the next time under `name`; what was kept counts only where `isValid` says so. */
export function useRemembered<T>(
  name: string,
  first: T,
  isValid: (value: unknown) => value is T
): [T, (value: T) => void] {
  const api = useApi();
  const [value, setValue] = useState<T>(() => {
    const kept = new Memory(api).recall(name);
    return isValid(kept) ? kept : first;
  });
  const remember = useCallback(
    (chosen: T) => {
      setValue(chosen);
      new Memory(api).keep(name, chosen);
    },
    [api, name]
  );
  return [value, remember];
}
