import type { ReactElement } from 'react';

import { reason } from '../api/client';
import { useTrans } from '../view/host';

interface Props {
  readonly error: unknown;
  readonly onRetry?: () => void;
}

/** What went wrong, in the server's words, and the way on. */
export function Failure({ error, onRetry }: Props): ReactElement {
  const trans = useTrans();
  return (
    <div className="jp-mlops-failure" role="alert">
      <p>{reason(error)}</p>
      {onRetry !== undefined && (
        <button type="button" className="jp-mlops-button" onClick={onRetry}>
          {trans.__('Try again')}
        </button>
      )}
    </div>
  );
}
