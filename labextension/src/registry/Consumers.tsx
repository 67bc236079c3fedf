import type { ReactElement } from 'react';

import type { Consumer } from '../api';
import { Empty, Failure, Loading, RelativeTime } from '../components';
import { useTrans } from '../view';
import { useConsumers } from './queries';

/** Who loads a model. */
export function Consumers({ name }: { readonly name: string }): ReactElement {
  const consumers = useConsumers(name);
  if (consumers.data === undefined) {
    return consumers.error === null ? (
      <Loading />
    ) : (
      <Failure error={consumers.error} onRetry={() => void consumers.refetch()} />
    );
  }
  return <Users consumers={consumers.data} />;
}

export function Users({ consumers }: { readonly consumers: readonly Consumer[] }): ReactElement {
  const trans = useTrans();
  if (consumers.length === 0) {
    return <Empty>{trans.__('Nobody that you may know of has loaded it.')}</Empty>;
  }
  return (
    <ul className="jp-mlops-list jp-mlops-users">
      {consumers.map(({ user, purpose = '', reference = '', version, last, loads }) => (
        <li key={`${user} ${purpose} ${reference} ${version}`}>
          <strong>{purpose === '' ? user : purpose}</strong>
          <span>
            {purpose === '' ? '' : `${user}, `}
            {reference} v{version}, <RelativeTime at={last} />, {trans._n('%1 time', '%1 times', loads)}
          </span>
        </li>
      ))}
    </ul>
  );
}
