/** The API for views. */
import { createContext, useContext } from 'react';

import type { Api, Events } from '../api';

export const ApiContext = createContext<Api | null>(null);

export function useApi(): Api {
  const api = useContext(ApiContext);
  if (api === null) {
    throw new Error('a view has no API');
  }
  return api;
}

export const EventsContext = createContext<Events | null>(null);

/** What happens on the server, as it happens. */
export function useEvents(): Events {
  const events = useContext(EventsContext);
  if (events === null) {
    throw new Error('a view hears of no events');
  }
  return events;
}
