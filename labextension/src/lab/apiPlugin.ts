import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { createApi, createCache, Events, follow, jupyterConnection } from '../api';
import { IMLOpsApi } from '../tokens';

export const apiPlugin: JupyterFrontEndPlugin<IMLOpsApi> = {
  id: 'jupyter-mlops:api',
  description: 'The API of jupyter-mlops and its live events.',
  autoStart: true,
  provides: IMLOpsApi,
  activate: ({ serviceManager }: JupyterFrontEnd): IMLOpsApi => {
    const connection = jupyterConnection(serviceManager.serverSettings);
    const events = new Events(connection);
    const cache = createCache();
    follow(cache, events);
    // While JupyterLab starts: what is asked for before events are live has to be asked for again.
    events.start();
    return { api: createApi(connection), events, cache };
  }
};
