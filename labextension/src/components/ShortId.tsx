import type { ReactElement } from 'react';

import { useHost } from '../view/host';

/** The first digits of an id; a click copies all of it. */
export function ShortId({ id }: { readonly id: string }): ReactElement {
  const { toast, trans } = useHost();
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(id);
    toast(trans.__('Copied %1', id), 'success');
  };
  return (
    <button type="button" className="jp-mlops-id" title={trans.__('Copy %1', id)} onClick={() => void copy()}>
      {id.slice(0, 8)}
    </button>
  );
}
