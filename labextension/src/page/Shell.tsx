import { useQuery } from '@tanstack/react-query';
import { type MouseEvent, type ReactElement, type ReactNode, Suspense, useState } from 'react';

import { principalQuery, waitingQuery } from '../api';
import { Loading, RelativeTime } from '../components';
import { TitleContext, useApi, useHost, type ViewAddress } from '../view';

interface Props {
  /** What is not protected here; empty when all is. */
  readonly notice: string;
  readonly children: ReactNode;
}

/** What stands around every view of the page: where one is, who one is, what waits, and the way to the hub. */
export function Shell({ notice, children }: Props): ReactElement {
  const { trans, hub, link, open } = useHost();
  const go = (address: ViewAddress) => (event: MouseEvent) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open(address);
    }
  };
  return (
    <>
      <header className="jp-mlops-shell">
        <nav aria-label={trans.__('Experiments and models')}>
          <a href={link({ view: 'registry' })} onClick={go({ view: 'registry' })}>
            {trans.__('Models')}
          </a>
          <Waiting />
          <a href={link({ view: 'tokens' })} onClick={go({ view: 'tokens' })}>
            {trans.__('Tokens')}
          </a>
          {hub !== null && <a href={`${hub}home`}>{trans.__('Hub')}</a>}
        </nav>
        <Account />
      </header>
      {notice !== '' && <Unprotected notice={notice} />}
      <main className="jp-mlops jp-mlops-view">
        <TitleContext.Provider value={entitle}>
          <Suspense fallback={<Loading />}>{children}</Suspense>
        </TitleContext.Provider>
      </main>
    </>
  );
}

function entitle(title: string): void {
  document.title = title;
}

/** What waits for whoever is here. */
function Waiting(): ReactElement | null {
  const { trans, open } = useHost();
  const { data } = useQuery(waitingQuery(useApi()));
  const { decide = [], mentions = [] } = data ?? {};
  const count = decide.length + mentions.length;
  return (
    <details className="jp-mlops-share">
      <summary>
        {trans.__('Waiting for you')} <span className="jp-mlops-badge">{count}</span>
      </summary>
      <ul className="jp-mlops-menu">
        {count === 0 && <li className="jp-mlops-empty">{trans.__('Nothing waits for you.')}</li>}
        {decide.map(({ request_id, model, version, alias, requester, created }) => (
          <li key={request_id}>
            <button
              type="button"
              className="jp-mlops-row"
              onClick={event => {
                event.currentTarget.closest('details')?.removeAttribute('open');
                open({ view: 'review', requestId: request_id });
              }}
            >
              {model} v{version} → {alias}, {trans.__('asked by %1', requester)} <RelativeTime at={created} />
            </button>
          </li>
        ))}
        {mentions.map(({ request_id, model, user, text, at }) => (
          <li key={`${request_id} ${at}`}>
            <button
              type="button"
              className="jp-mlops-row"
              onClick={event => {
                event.currentTarget.closest('details')?.removeAttribute('open');
                open({ view: 'review', requestId: request_id });
              }}
            >
              {trans.__('%1 about %2:', user, model)} <span className="jp-mlops-name">{text}</span>
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Account(): ReactElement {
  const { trans } = useHost();
  const { data } = useQuery(principalQuery(useApi()));
  const { name = '', groups = [], decides = true } = data ?? {};
  return (
    <span className="jp-mlops-account" title={trans.__('Your groups: %1', groups.join(', ') || trans.__('none'))}>
      {name !== '' && trans.__('You are %1', name)}
      {groups.length > 0 && <small> ({[...groups].sort().join(', ')})</small>}
      {!decides && <small> {trans.__('What you show decides nothing for others.')}</small>}
    </span>
  );
}

function Unprotected({ notice }: { readonly notice: string }): ReactElement | null {
  const { trans } = useHost();
  const [isShown, setShown] = useState(true);
  return isShown ? (
    <div className="jp-mlops-unprotected" role="note">
      <p>⚠ {notice}</p>
      <button type="button" className="jp-mlops-link" aria-label={trans.__('Close')} onClick={() => setShown(false)}>
        ×
      </button>
    </div>
  ) : null;
}
