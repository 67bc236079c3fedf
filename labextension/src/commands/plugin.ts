import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';

import { IMLOpsViews } from '../tokens';
import { addCommands, CommandIds } from './running';
import { Notebooks } from './notebooks';
import { Remembered } from './remembered';

export const running: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-mlops:running',
  description: 'Runs notebooks as experiments: the form, and the commands that start, cancel and repeat runs.',
  autoStart: true,
  requires: [IMLOpsViews, IDocumentManager],
  optional: [INotebookTracker, IFileBrowserFactory, ICommandPalette, ILauncher, IStateDB],
  activate: (
    { commands, serviceManager }: JupyterFrontEnd,
    { surroundings }: IMLOpsViews,
    documents: IDocumentManager,
    open: INotebookTracker | null,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    state: IStateDB | null
  ) => {
    const { trans } = surroundings.host;
    addCommands(commands, {
      around: surroundings,
      kernels: serviceManager.kernelspecs,
      notebooks: new Notebooks(documents, open, browsers),
      remembered: new Remembered(state)
    });
    const category = trans.__('Experiments and Models');
    palette?.addItem({ command: CommandIds.run, category });
    palette?.addItem({ command: CommandIds.insertCell, category });
    launcher?.add({ command: CommandIds.run, args: { isLauncher: true }, category: trans.__('Other'), rank: 10 });
  }
};
