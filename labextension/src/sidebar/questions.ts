/** What the sidebar asks for. */
import {
  activeRunsQuery,
  experimentsQuery,
  jobsQuery,
  modelsQuery,
  openRequestsQuery,
  principalQuery,
  serverStatusQuery,
  waitingQuery
} from '../api';
import type { Surroundings } from '../view';

const QUESTIONS = [
  serverStatusQuery,
  experimentsQuery,
  principalQuery,
  activeRunsQuery,
  jobsQuery,
  waitingQuery,
  modelsQuery,
  openRequestsQuery
];

/** Ask for all of it before it is drawn: while JupyterLab starts, a browser has little time for drawing. */
export function askAhead({ api, cache }: Pick<Surroundings, 'api' | 'cache'>): void {
  for (const question of QUESTIONS) {
    // What fails is asked for again, and told, by the part that shows it.
    cache.query<unknown>(question(api)).catch(() => undefined);
  }
}
