import { type ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';

import { IMLOpsViews } from '../tokens';
import { showWaiting } from './badge';
import { TOGGLE_SIDEBAR } from './commandIds';
import { SidebarWidget } from './widgets';

const RANK = 600;

export const sidebarPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-mlops:sidebar',
  description: 'What is going on, at a glance: experiments, live runs, what waits for you, models.',
  autoStart: true,
  requires: [IMLOpsViews],
  optional: [ILayoutRestorer, ICommandPalette],
  activate: (
    { commands, restored, shell }: JupyterFrontEnd,
    { surroundings }: IMLOpsViews,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ): void => {
    const { trans } = surroundings.host;
    const sidebar = new SidebarWidget(surroundings);
    shell.add(sidebar, 'left', { rank: RANK });
    restorer?.add(sidebar, sidebar.id);
    void restored.then(() => showWaiting(sidebar, surroundings));
    commands.addCommand(TOGGLE_SIDEBAR, {
      label: trans.__('Show Experiments and Models'),
      isToggleable: true,
      isToggled: () => sidebar.isVisible,
      execute: () => {
        if (sidebar.isVisible && canCollapse(shell)) {
          shell.collapseLeft();
        } else {
          shell.activateById(sidebar.id);
        }
      }
    });
    palette?.addItem({ command: TOGGLE_SIDEBAR, category: trans.__('Experiments and Models') });
  }
};

/** JupyterLab's shell and Jupyter Notebook's can, which have no type in common that says so. */
function canCollapse(shell: JupyterFrontEnd.IShell): shell is JupyterFrontEnd.IShell & Pick<ILabShell, 'collapseLeft'> {
  return 'collapseLeft' in shell;
}
