import type { ReactElement } from 'react';

import type { ViewAddress } from '../view/address';
import { useHost } from '../view/host';
import { Popover } from './Popover';

interface Props {
  readonly address: ViewAddress;
  readonly code: { readonly python: string; readonly magic: string; readonly cli: string };
}

/** A link to a view, and the code that gives what it shows. */
export function ShareMenu({ address, code }: Props): ReactElement {
  const { link, toast, trans } = useHost();
  const choices = [
    [trans.__('Copy link'), link(address)],
    [trans.__('Copy as Python'), code.python],
    [trans.__('Copy as magic'), code.magic],
    [trans.__('Copy as command'), code.cli]
  ] as const;
  const copy = async (text: string): Promise<void> => {
    await navigator.clipboard.writeText(text);
    toast(trans.__('Copied'), 'success', { details: text });
  };
  return (
    <Popover label={trans.__('Share')}>
      {close => (
        <ul className="jp-mlops-list">
          {choices.map(([label, text]) => (
            <li key={label}>
              <button
                type="button"
                className="jp-mlops-row"
                title={text}
                onClick={() => {
                  close();
                  void copy(text);
                }}
              >
                {label}
              </button>
            </li>
          ))}
        </ul>
      )}
    </Popover>
  );
}
