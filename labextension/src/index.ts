/** The plugins of JupyterLab. */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import '../src/style/index.css';
import { createApi, createCache, Events, follow, jupyterConnection } from './api';
import { labHost } from './lab/host';
import { OPEN, Opener } from './lab/opener';
import { SidebarWidget } from './lab/widgets';
import { runPage } from './run/plugin';
import { IMLOpsApi, IMLOpsViews } from './tokens';
import { fromPath, type Host, type Surroundings } from './view';

const api: JupyterFrontEndPlugin<IMLOpsApi> = {
  id: 'jupyter-mlops:api',
  description: 'The API of jupyter-mlops and its live events.',
  autoStart: true,
  provides: IMLOpsApi,
  activate: ({ serviceManager }: JupyterFrontEnd): IMLOpsApi => {
    const connection = jupyterConnection(serviceManager.serverSettings);
    const events = new Events(connection);
    const cache = createCache();
    follow(cache, events);
    events.start();
    return { api: createApi(connection), events, cache };
  }
};

const views: JupyterFrontEndPlugin<IMLOpsViews> = {
  id: 'jupyter-mlops:views',
  description: 'The sidebar, and the views in the main area.',
  autoStart: true,
  provides: IMLOpsViews,
  requires: [IMLOpsApi],
  optional: [ITranslator, ILayoutRestorer, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    { api, cache, events }: IMLOpsApi,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null
  ): IMLOpsViews => {
    const trans = (translator ?? nullTranslator).load('jupyter_mlops');
    const around = (): Surroundings => ({ host, api, cache, events });
    const opener = new Opener(app.shell, around);
    const host: Host = labHost(trans, app.commands, address => opener.open(address));
    app.commands.addCommand(OPEN, {
      label: trans.__('Open a View of Experiments and Models'),
      execute: ({ path }) => {
        const address = fromPath(typeof path === 'string' ? path : '');
        if (address !== null) {
          opener.open(address);
        }
      }
    });
    const sidebar = new SidebarWidget(around());
    app.shell.add(sidebar, 'left', { rank: 600 });
    if (restorer !== null) {
      restorer.add(sidebar, sidebar.id);
      opener.restoreWith(restorer);
    }
    void app.restored.then(() => opener.openAsked(window.location.search));
    return opener;
  }
};

export default [api, views, runPage];
