import type { ReactElement } from 'react';

import type { AliasPeriod } from '../api';
import { Empty, Failure, Loading, RelativeTime } from '../components';
import { useHost } from '../view';
import { useHistory } from './queries';

/** Who moved which alias, when and why, the last first. */
export function History({ name }: { readonly name: string }): ReactElement {
  const { trans, open } = useHost();
  const history = useHistory(name);
  if (history.data === undefined) {
    return history.error === null ? (
      <Loading />
    ) : (
      <Failure error={history.error} onRetry={() => void history.refetch()} />
    );
  }
  if (history.data.length === 0) {
    return <Empty>{trans.__('No alias was ever moved.')}</Empty>;
  }
  return (
    <ol className="jp-mlops-list jp-mlops-history" reversed>
      {[...history.data].reverse().map(period => (
        <li key={`${period.move.alias} ${period.move.at} ${String(period.move.version)}`}>
          <Moved period={period} />
          {period.promotion != null && (
            <button
              type="button"
              className="jp-mlops-link"
              onClick={() => open({ view: 'review', requestId: period.promotion?.request_id ?? '' })}
            >
              {trans.__('evidence')}
            </button>
          )}
        </li>
      ))}
    </ol>
  );
}

function Moved({ period }: { readonly period: AliasPeriod }): ReactElement {
  const { trans } = useHost();
  const { move, promotion } = period;
  const { alias, version, replaced, user, at, reason = '' } = move;
  const kinds = { request: '', rollback: trans.__('rollback'), override: trans.__('OVERRIDE') };
  const kind = promotion == null ? '' : kinds[promotion.kind ?? 'request'];
  const approved = promotion?.reviews?.filter(({ verdict }) => verdict === 'approved').map(review => review.user) ?? [];
  return (
    <>
      <RelativeTime at={at} />{' '}
      <strong>
        {alias} {replaced == null ? '' : `v${replaced} `}→ {version == null ? trans.__('nothing') : `v${version}`}
      </strong>{' '}
      {kind !== '' && <span className="jp-mlops-badge">{kind}</span>} {trans.__('by %1', user)}
      {promotion != null && promotion.requester !== user && `, ${trans.__('asked by %1', promotion.requester)}`}
      {approved.length > 0 && `, ${trans.__('approved by %1', approved.join(', '))}`}
      {reason !== '' && <q>{reason}</q>}
    </>
  );
}
