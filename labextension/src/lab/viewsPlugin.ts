import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IMLOpsApi, IMLOpsViews } from '../tokens';
import { fromPath, type Surroundings, type ViewAddress } from '../view';
import { COPY_LINK, OPEN } from './commandIds';
import { labHost } from './host';
import { Opener } from './opener';

export const viewsPlugin: JupyterFrontEndPlugin<IMLOpsViews> = {
  id: 'jupyter-mlops:views',
  description: 'The views of experiments, runs and models in the main area.',
  autoStart: true,
  provides: IMLOpsViews,
  requires: [IMLOpsApi],
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, ILabShell],
  activate: (
    { commands, restored, shell }: JupyterFrontEnd,
    mlops: IMLOpsApi,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    labShell: ILabShell | null
  ): IMLOpsViews => {
    const trans = (translator ?? nullTranslator).load('jupyter_mlops');
    const open = (address: ViewAddress): void => {
      if (labShell === null) {
        // The main area of Jupyter Notebook has room for the notebook only.
        window.open(host.link(address), '_blank', 'noopener');
      } else {
        opener.open(address);
      }
    };
    const host = labHost(trans, commands, open);
    const surroundings: Surroundings = { host, ...mlops };
    const opener = new Opener(shell, surroundings);

    commands.addCommand(OPEN, {
      label: ({ path }) => (typeof path === 'string' ? trans.__('Open %1', path) : trans.__('Registered Models')),
      caption: trans.__('Open a view of experiments, runs or models by its path'),
      execute: ({ path }) => {
        const address = fromPath(typeof path === 'string' ? path : 'models');
        if (address !== null) {
          open(address);
        }
      }
    });
    commands.addCommand(COPY_LINK, {
      label: trans.__('Copy Link of the View'),
      isEnabled: () => opener.current !== null,
      execute: async () => {
        if (opener.current !== null) {
          await navigator.clipboard.writeText(host.link(opener.current));
          host.toast(trans.__('The link is copied'), 'success');
        }
      }
    });
    for (const command of [OPEN, COPY_LINK]) {
      palette?.addItem({ command, category: trans.__('Experiments and Models') });
    }
    if (restorer !== null) {
      opener.restoreWith(restorer);
    }
    void restored.then(() => opener.openAsked(window.location.search));
    return { open, surroundings };
  }
};
