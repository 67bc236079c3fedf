export { type Api, ApiError, answered, createApi, reason } from './client';
export { type Connection, jupyterConnection, serviceConnection } from './connection';
export { createCache, follow } from './cache';
export { ApiContext, EventsContext, useApi, useEvents, useEventsState } from './context';
export { useServicePage } from './servicepage';
export { Events, type EventsState } from './events';
export * from './queries';
export type * from './records';
export { VERSION } from './version';
