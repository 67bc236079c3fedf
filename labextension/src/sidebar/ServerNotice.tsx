import { useQuery } from '@tanstack/react-query';
import type { ReactElement, ReactNode } from 'react';

import { ApiError, serverStatusQuery, useApi, VERSION } from '../api';
import { useTrans } from '../view';

/** What is below it, or first what to do when the Jupyter server lacks the extension, or has another version of it. */
export function ServerNotice({ children }: { readonly children: ReactNode }): ReactElement {
  const trans = useTrans();
  const { data, error, refetch } = useQuery(serverStatusQuery(useApi()));
  if (error instanceof ApiError && error.isMissing) {
    return (
      <div className="jp-mlops-failure" role="alert">
        <p>{trans.__('This panel needs the server extension of jupyter-mlops, which this Jupyter server has not loaded.')}</p>
        <p>{trans.__('Install and enable it where the server runs, then restart the server:')}</p>
        <pre>{`pip install jupyter-mlops==${VERSION}\njupyter server extension enable jupyter_mlops`}</pre>
        <button type="button" className="jp-mlops-button" onClick={() => void refetch()}>
          {trans.__('Try again')}
        </button>
      </div>
    );
  }
  return (
    <>
      {data !== undefined && data.version !== VERSION && (
        <div className="jp-mlops-failure" role="alert">
          <p>
            {trans.__(
              'The panel is version %1, the server extension version %2. Restart the Jupyter server and load this page again; if that does not help, install one version:',
              VERSION,
              data.version
            )}
          </p>
          <pre>{`pip install --force-reinstall jupyter-mlops==${VERSION}`}</pre>
        </div>
      )}
      {children}
    </>
  );
}
