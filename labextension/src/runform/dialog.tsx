/** The run form in a dialog of JupyterLab. */
import { Dialog, ReactWidget } from '@jupyterlab/apputils';

import { Frame, type Surroundings } from '../view';
import { RunForm, type RunFormProps } from '.';

type Asked = Omit<RunFormProps, 'onCancel'>;

/** Ask how a notebook is to be run. Gives what was started; null when the dialog was closed. */
export async function askForRun(around: Surroundings, asked: Omit<Asked, 'onStarted'>): Promise<Started | null> {
  let started: Started | null = null;
  const body = ReactWidget.create(
    <Frame {...around}>
      <RunForm
        {...asked}
        onStarted={(...found) => {
          started = found;
          dialog.reject();
        }}
        onCancel={() => dialog.reject()}
        onInsertCell={
          asked.onInsertCell &&
          (() => {
            dialog.reject();
            asked.onInsertCell?.();
          })
        }
      />
    </Frame>
  );
  const name = asked.path.slice(asked.path.lastIndexOf('/') + 1);
  const dialog = new FormDialog({ title: around.host.trans.__('Run %1', name), body, buttons: [], focusNodeSelector: 'input' });
  dialog.addClass('jp-mlops-dialog');
  await dialog.launch();
  return started;
}

type Started = Parameters<Asked['onStarted']>;

/** Enter is the form's: it has buttons of its own. */
class FormDialog extends Dialog<void> {
  protected override _evtKeydown(event: KeyboardEvent): void {
    if (event.key !== 'Enter') {
      super._evtKeydown(event);
    }
  }
}
