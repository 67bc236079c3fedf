/** JupyterLab as views see it. */
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import { type Host, type ToastOptions, toPath, type ViewAddress } from '../view';

export function labHost(
  trans: TranslationBundle,
  commands: CommandRegistry,
  open: (address: ViewAddress) => void
): Host {
  return {
    kind: 'lab',
    trans,
    open,
    commands: {
      has: id => commands.hasCommand(id),
      execute: (id, args) => commands.execute(id, args)
    },
    link: address => {
      const lab = URLExt.join(PageConfig.getBaseUrl(), 'lab');
      return `${new URL(lab, window.location.href).href}?mlops=${encodeURIComponent(toPath(address))}`;
    },
    hub: PageConfig.getOption('hubPrefix')
      ? new URL(PageConfig.getOption('hubHost') + PageConfig.getOption('hubPrefix'), window.location.href).href
      : null,
    confirm: async ({ title, body, action, isDangerous = false }) => {
      const button = isDangerous ? Dialog.warnButton({ label: action }) : Dialog.okButton({ label: action });
      const buttons = [Dialog.cancelButton(), button];
      const { button: chosen } = await showDialog({ title, body, buttons, defaultButton: isDangerous ? 0 : 1 });
      return chosen.accept;
    },
    toast: (message, kind, { details, action }: ToastOptions = {}) => {
      const actions: Notification.IAction[] = [];
      if (action !== undefined) {
        actions.push({ label: action.label, callback: action.run });
      }
      if (details !== undefined) {
        const callback = (): void => void showDialog({ title: message, body: details, buttons: [Dialog.okButton()] });
        actions.push({ label: trans.__('Details'), callback });
      }
      Notification.emit(message, kind, { actions, autoClose: kind === 'error' ? false : 5000 });
    }
  };
}
