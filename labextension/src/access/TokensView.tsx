import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { answered } from '../api';
import { Empty, Failure, Loading, RelativeTime } from '../components';
import { useApi, useDecisionPage, useHost, useTitle, useTrans } from '../view';
import { type AccessToken, TOKENS, useTokens } from './queries';
import { TokenForm } from './TokenForm';

/** The access tokens on what the user and their groups have; made and revoked on the service's page only. */
export function TokensView(): ReactElement {
  const trans = useTrans();
  const page = useDecisionPage({ view: 'tokens' });
  const tokens = useTokens();
  const [made, setMade] = useState<AccessToken | null>(null);
  useTitle(trans.__('Access tokens'));
  return (
    <>
      <header className="jp-mlops-head">
        <h1>{trans.__('Access tokens')}</h1>
      </header>
      <p>
        {trans.__(
          'With an access token, what is no person (CI, a job elsewhere) reads and writes the things of one owner. It decides nothing.'
        )}
      </p>
      {page === null && <TokenForm onMade={setMade} />}
      {typeof page === 'string' && (
        <p>
          <a href={page}>{trans.__('Make and revoke tokens on the service’s page')}</a>
        </p>
      )}
      {made?.secret != null && <Secret token={made} secret={made.secret} onClose={() => setMade(null)} />}
      {tokens.data === undefined ? (
        tokens.error === null ? (
          <Loading />
        ) : (
          <Failure error={tokens.error} onRetry={() => void tokens.refetch()} />
        )
      ) : (
        <Tokens tokens={tokens.data} canRevoke={page === null} />
      )}
    </>
  );
}

interface SecretProps {
  readonly token: AccessToken;
  readonly secret: string;
  readonly onClose: () => void;
}

/** The token itself, this once. */
function Secret({ token, secret, onClose }: SecretProps): ReactElement {
  const trans = useTrans();
  return (
    <div className="jp-mlops-form" role="status">
      <p>{trans.__('This is %1, shown only now; clients look for it in MLOPS_TRACKING_TOKEN:', token.name)}</p>
      <p>
        <code>{secret}</code>
      </p>
      <div className="jp-mlops-actions">
        <button type="button" className="jp-mlops-button" onClick={onClose}>
          {trans.__('I have it')}
        </button>
      </div>
    </div>
  );
}

interface TokensProps {
  readonly tokens: readonly AccessToken[];
  readonly canRevoke: boolean;
}

function Tokens({ tokens, canRevoke }: TokensProps): ReactElement {
  const trans = useTrans();
  if (tokens.length === 0) {
    return <Empty>{trans.__('There are no access tokens.')}</Empty>;
  }
  return (
    <ul className="jp-mlops-list">
      {tokens.map(token => (
        <Token key={token.token_id} token={token} canRevoke={canRevoke} />
      ))}
    </ul>
  );
}

function Token({ token, canRevoke }: { readonly token: AccessToken; readonly canRevoke: boolean }): ReactElement {
  const trans = useTrans();
  const { confirm } = useHost();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const { name, owner, scope, user, expires, last_used: used } = token;
  const revoke = useMutation({
    mutationFn: () => answered(v1.DELETE('/access-tokens/{token_id}', { params: { path: { token_id: token.token_id } } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: TOKENS })
  });
  const ask = async (): Promise<void> => {
    const question = {
      title: trans.__('Revoke %1?', name),
      body: trans.__('Whatever uses it is refused from its next request on.'),
      action: trans.__('Revoke'),
      isDangerous: true
    };
    if (await confirm(question)) {
      revoke.mutate();
    }
  };
  return (
    <li>
      <strong>{name}</strong>{' '}
      <span>
        {trans.__('for %1 (%2), made by %3', owner, scope, user)},{' '}
        {trans.__('its time ends')} <RelativeTime at={expires} />,{' '}
        {used == null ? (
          trans.__('never used')
        ) : (
          <>
            {trans.__('last used')} <RelativeTime at={used} />
          </>
        )}
      </span>{' '}
      {canRevoke && (
        <button
          type="button"
          className="jp-mlops-button"
          data-kind="danger"
          aria-label={trans.__('Revoke %1', name)}
          disabled={revoke.isPending}
          onClick={() => void ask()}
        >
          {trans.__('Revoke')}
        </button>
      )}
      {revoke.error !== null && <Failure error={revoke.error} />}
    </li>
  );
}
