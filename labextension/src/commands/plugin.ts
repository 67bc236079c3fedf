import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { INSERT_CELL, RUN } from '../lab/commandIds';
import { IMLOpsViews } from '../tokens';
import { Notebooks } from './notebooks';
import { Remembered } from './remembered';
import { Running } from './running';

const ID = 'jupyter-mlops:running';

export const runningPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Runs notebooks as experiments: the form, and the commands that start, cancel and repeat runs.',
  autoStart: true,
  requires: [IMLOpsViews, IDocumentManager],
  optional: [INotebookTracker, IFileBrowserFactory, ICommandPalette, ILauncher, IStateDB, ITranslator, ISettingRegistry],
  activate: (
    { commands, serviceManager }: JupyterFrontEnd,
    { surroundings }: IMLOpsViews,
    documents: IDocumentManager,
    open: INotebookTracker | null,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    state: IStateDB | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_mlops');
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
      new Remembered(state),
      () => follows
    ).addTo(commands);
    const category = trans.__('Experiments and Models');
    palette?.addItem({ command: RUN, category });
    palette?.addItem({ command: INSERT_CELL, category });
    launcher?.add({ command: RUN, args: { isLauncher: true }, category: trans.__('Other'), rank: 10 });
  }
};
