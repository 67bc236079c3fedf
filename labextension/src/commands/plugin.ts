import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { INSERT_CELL, RUN } from '../lab/commandIds';
import { IMLOpsViews } from '../tokens';
import { Notebooks } from './notebooks';
import { Running } from './running';

const ID = 'jupyter-mlops:running';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Runs notebooks as experiments: the form, and the commands that start, cancel and repeat runs.',
  autoStart: true,
  requires: [IMLOpsViews, IDocumentManager],
  optional: [INotebookTracker, IFileBrowserFactory, ICommandPalette, ILauncher, ISettingRegistry],
  activate: (
    { commands, serviceManager }: JupyterFrontEnd,
    { surroundings }: IMLOpsViews,
    documents: IDocumentManager,
    open: INotebookTracker | null,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    settings: ISettingRegistry | null
  ) => {
    const { trans } = surroundings.host;
    let follows = true;
    void settings?.load(ID).then(loaded => {
      const take = (): void => {
        follows = loaded.composite.follow === true;
      };
      loaded.changed.connect(take);
      take();
    });
    new Running(
      surroundings,
      serviceManager.kernelspecs,
      new Notebooks(documents, open, browsers),
      () => follows
    ).addTo(commands);
    const category = trans.__('Experiments and Models');
    palette?.addItem({ command: RUN, category });
    palette?.addItem({ command: INSERT_CELL, category });
    launcher?.add({ command: RUN, args: { isLauncher: true }, category: trans.__('Other'), rank: 10 });
  }
};
