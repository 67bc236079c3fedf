import type { ReactElement } from 'react';

import { useTrans } from '../view/host';

/** Keeps the place of what is on its way. */
export function Loading({ label }: { readonly label?: string }): ReactElement {
  const trans = useTrans();
  return (
    <div className="jp-mlops-loading" role="status">
      {label ?? trans.__('Loading…')}
    </div>
  );
}
