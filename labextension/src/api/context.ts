/** The API for components. */
import { createContext, useContext, useSyncExternalStore } from 'react';

import type { Api } from './client';
import type { Events, EventsState } from './events';

export const ApiContext = createContext<Api | null>(null);
export const EventsContext = createContext<Events | null>(null);

export function useApi(): Api {
  const api = useContext(ApiContext);
  if (api === null) {
    throw new Error('a view has no API');
  }
  return api;
}

/** What happens, as it happens. */
export function useEvents(): Events {
  const events = useContext(EventsContext);
  if (events === null) {
    throw new Error('a view has no events');
  }
  return events;
}

/** Whether what happens is told. */
export function useEventsState(): EventsState {
  const events = useContext(EventsContext);
  return useSyncExternalStore(
    changed => {
      events?.stateChanged.connect(changed);
      return () => void events?.stateChanged.disconnect(changed);
    },
    () => events?.state ?? 'connecting'
  );
}
