/** What other extensions can ask for, or put something else in the place of. */
import { Token } from '@lumino/coreutils';
import type { QueryClient } from '@tanstack/react-query';

import type { Api, Events } from './api';
import type { Surroundings, ViewAddress } from './view';

export interface IMLOpsApi {
  readonly api: Api;
  readonly events: Events;
  /** What was answered lately; see `api/cache.ts` for its keys. */
  readonly cache: QueryClient;
}

export const IMLOpsApi = new Token<IMLOpsApi>('jupyter-mlops:IMLOpsApi', 'The API of jupyter-mlops and its live events.');

export interface IMLOpsViews {
  open(address: ViewAddress): void;
  /** For components that are shown elsewhere, such as in a dialog: what `Frame` takes. */
  readonly surroundings: Surroundings;
}

export const IMLOpsViews = new Token<IMLOpsViews>('jupyter-mlops:IMLOpsViews', 'Opens the views of jupyter-mlops.');
