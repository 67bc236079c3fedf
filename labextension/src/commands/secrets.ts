/** Asks for the values of secret parameters, which are kept nowhere. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

/** The values by name; null when the user does not give them. */
export async function askForSecrets(
  names: readonly string[],
  trans: TranslationBundle
): Promise<Record<string, string> | null> {
  if (names.length === 0) {
    return {};
  }
  const { button, value } = await showDialog({
    title: trans.__('Secrets of the run'),
    body: new Secrets(names, trans),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Run again') })],
    focusNodeSelector: 'input'
  });
  return button.accept ? value : null;
}

class Secrets extends Widget implements Dialog.IBodyWidget<Record<string, string>> {
  constructor(names: readonly string[], trans: TranslationBundle) {
    super();
    const told = document.createElement('p');
    told.textContent = trans.__('The run was given these, and their values are kept nowhere.');
    this.node.append(told);
    for (const name of names) {
      const label = document.createElement('label');
      const input = document.createElement('input');
      input.type = 'password';
      input.name = name;
      input.autocomplete = 'new-password';
      input.className = 'jp-mod-styled';
      label.append(name, input);
      this.node.append(label);
    }
  }

  getValue(): Record<string, string> {
    return Object.fromEntries([...this.node.querySelectorAll('input')].map(input => [input.name, input.value]));
  }
}
