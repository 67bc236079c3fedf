import { queryOptions, useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered, type PromotionEvidence } from '../api';
import { Failure, Loading } from '../components';
import { Users } from '../registry/Consumers';
import { type ReviewAddress, useApi, useTitle, useTrans } from '../view';
import { Changes } from './Changes';
import { Checks } from './Checks';
import { Decision } from './Decision';
import { Head } from './Head';
import { Talk } from './Talk';

/** A request to promote a version: what is asked, what was found out, what changes, and the decision. */
export function ReviewView({ requestId }: ReviewAddress): ReactElement {
  const { v1 } = useApi();
  const evidence = useQuery(
    queryOptions({
      queryKey: ['promotion', requestId, 'evidence'],
      queryFn: () =>
        answered(v1.GET('/promotions/{request_id}/evidence', { params: { path: { request_id: requestId } } }))
    })
  );
  // What is said and decided shows at once: it does not wait until notebooks are compared again.
  const latest = useQuery(
    queryOptions({
      queryKey: ['promotion', requestId],
      queryFn: () => answered(v1.GET('/promotions/{request_id}', { params: { path: { request_id: requestId } } }))
    })
  );
  if (evidence.data === undefined) {
    return evidence.error === null ? (
      <Loading />
    ) : (
      <Failure error={evidence.error} onRetry={() => void evidence.refetch()} />
    );
  }
  const promotion = latest.data ?? evidence.data.promotion;
  return <Review evidence={{ ...evidence.data, promotion }} />;
}

function Review({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement {
  const trans = useTrans();
  const { promotion, consumers = [], lineage = [] } = evidence;
  const { model, version, alias } = promotion;
  useTitle(`${model} ${version == null ? '' : `v${version} `}→ ${alias}`);
  return (
    <article className="jp-mlops-review">
      <Head evidence={evidence} />
      <Checks promotion={promotion} />
      <Changes evidence={evidence} />
      <section className="jp-mlops-part" aria-label={trans.__('Used by')}>
        <h2>{trans.__('Used by')}</h2>
        <Users consumers={consumers} />
      </section>
      {lineage.length > 0 && (
        <section className="jp-mlops-part" aria-label={trans.__('Lineage')}>
          <h2>{trans.__('Lineage')}</h2>
          <ol className="jp-mlops-way">
            {lineage.map(step => (
              <li key={step}>{step}</li>
            ))}
          </ol>
        </section>
      )}
      <Talk evidence={evidence} />
      <Decision evidence={evidence} />
    </article>
  );
}
