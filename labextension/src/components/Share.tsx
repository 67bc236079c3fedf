import { type ReactElement, useRef } from 'react';

import { useServicePage } from '../api/servicepage';
import { toPath, type ViewAddress } from '../view/address';
import { copyText } from '../view/clipboard';
import { useHost } from '../view/host';

/** How the same is done without the panel. */
export interface Code {
  readonly python?: string;
  readonly magic?: string;
  readonly cli?: string;
}

interface Props {
  readonly address: ViewAddress;
  readonly code?: Code;
}

/** Links to a view for others, and the code that does what it does. */
export function Share({ address, code = {} }: Props): ReactElement {
  const { trans, hub, kind, link, toast } = useHost();
  const page = useServicePage();
  const menu = useRef<HTMLDetailsElement>(null);
  const path = toPath(address);
  const lab = hub === null ? null : `${hub}user-redirect/lab?mlops=${encodeURIComponent(path)}`;
  const choices: [string, string | null | undefined][] = [
    [trans.__('Copy link to the page'), page == null ? null : page + path],
    [trans.__('Copy link for JupyterLab'), lab ?? (kind === 'lab' ? link(address) : null)],
    [trans.__('Copy as Python'), code.python],
    [trans.__('Copy as magic'), code.magic],
    [trans.__('Copy as command'), code.cli]
  ];
  const copy = async (text: string): Promise<void> => {
    if (menu.current !== null) {
      menu.current.open = false;
    }
    await copyText(text);
    toast(trans.__('Copied.'), 'success', { details: text });
  };
  return (
    <details ref={menu} className="jp-mlops-share">
      <summary className="jp-mlops-button">{trans.__('Share')}</summary>
      <ul className="jp-mlops-menu">
        {choices.map(
          ([label, text]) =>
            text != null && (
              <li key={label}>
                <button type="button" className="jp-mlops-row" title={text} onClick={() => void copy(text)}>
                  {label}
                </button>
              </li>
            )
        )}
      </ul>
    </details>
  );
}
