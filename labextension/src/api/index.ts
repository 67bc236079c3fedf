export { type Api, ApiError, answered, createApi, reason } from './client';
export { type Connection, jupyterConnection, serviceConnection } from './connection';
export { createCache, follow } from './cache';
export { Events, type EventsState } from './events';
export type * from './records';
