import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { type Mention, type Promotion, useApi, type Waiting, waitingQuery } from '../api';
import { RelativeTime, Section } from '../components';
import { useHost, useTrans } from '../view';

/** Requests to decide about, and questions to answer; nothing at all when there is nothing. */
export function WaitingForMe(): ReactElement | null {
  const trans = useTrans();
  const { data } = useQuery(waitingQuery(useApi()));
  const count = waitingCount(data);
  if (count === 0) {
    return null;
  }
  return (
    <Section title={trans.__('Waiting for you')} count={count}>
      <ul className="jp-mlops-list">
        {data?.decide?.map(request => <Request key={request.request_id} request={request} />)}
        {data?.mentions?.map(mention => <Question key={`${mention.request_id}:${mention.at}`} mention={mention} />)}
      </ul>
    </Section>
  );
}

/** How many things wait. */
export function waitingCount(waiting: Waiting | undefined): number {
  return (waiting?.decide?.length ?? 0) + (waiting?.mentions?.length ?? 0);
}

function Request({ request }: { readonly request: Promotion }): ReactElement {
  const { open, trans } = useHost();
  const { request_id, model, version, alias, requester, created } = request;
  return (
    <li>
      <button type="button" className="jp-mlops-row" onClick={() => open({ view: 'review', requestId: request_id })}>
        <span className="jp-mlops-name">{trans.__('%1 v%2 → %3', model, version, alias)}</span>
        <span className="jp-mlops-owner">{trans.__('asked by %1', requester)}</span>
        <RelativeTime at={created} isShort />
      </button>
    </li>
  );
}

function Question({ mention }: { readonly mention: Mention }): ReactElement {
  const { open, trans } = useHost();
  const { request_id, model, alias, user, text, at } = mention;
  return (
    <li>
      <button type="button" className="jp-mlops-row" onClick={() => open({ view: 'review', requestId: request_id })}>
        <span className="jp-mlops-name" title={text}>
          {trans.__('%1 asks you about %2 → %3', user, model, alias)}
        </span>
        <RelativeTime at={at} isShort />
      </button>
    </li>
  );
}
