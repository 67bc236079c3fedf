import type { ReactElement } from 'react';

import { useTrans } from '../view';

/** Says why there are no fields for parameters, and offers the cell that makes them. */
export function WithoutCell({ onInsertCell }: { readonly onInsertCell?: () => void }): ReactElement {
  const trans = useTrans();
  return (
    <div className="jp-mlops-hint">
      <p>{trans.__('No cell of this notebook is tagged “parameters”, so it runs as it is.')}</p>
      {onInsertCell !== undefined && (
        <button type="button" className="jp-mod-styled" onClick={onInsertCell}>
          {trans.__('Insert a parameters cell')}
        </button>
      )}
    </div>
  );
}
