import { type ReactElement, useState } from 'react';

import type { Promotion, PromotionEvidence } from '../api';
import { RelativeTime, Share, ShortId } from '../components';
import { useHost } from '../view';

/** What is asked, by whom, and how it stands. */
export function Head({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement {
  const { trans, open } = useHost();
  const { promotion, candidate } = evidence;
  const { model, alias, version, champion, kind = 'request', reason = '', outcome = '', missing = [] } = promotion;
  const { request_id, requester, asked_by, authors = [], created, expires, closed, closed_by, safe = true } = promotion;
  const run = candidate?.run;
  return (
    <header className="jp-mlops-review-head">
      <div className="jp-mlops-head">
        <h1>
          <button type="button" className="jp-mlops-link" onClick={() => open({ view: 'registry', model })}>
            {model}
          </button>{' '}
          {version == null ? trans.__('nothing') : `v${version}`} → {alias}{' '}
          <small>({champion == null ? trans.__('now nothing') : trans.__('now v%1', champion)})</small>
        </h1>
        <State promotion={promotion} />
        <Share
          address={{ view: 'review', requestId: request_id }}
          code={{
            cli: `jupyter mlops requests show ${request_id}`,
            python: `mlops.connect().promotions.evidence("${request_id}")`
          }}
        />
      </div>
      {kind === 'override' && (
        <p className="jp-mlops-loud">{trans.__('An administrator moved the alias against the policy.')}</p>
      )}
      {reason !== '' && <blockquote>{reason}</blockquote>}
      <dl className="jp-mlops-facts">
        <div>
          <dt>{trans.__('asked by')}</dt>
          <dd>
            {requester}
            {asked_by !== requester && ` (${asked_by})`} <RelativeTime at={created} />
          </dd>
        </div>
        {authors.length > 0 && (
          <div>
            <dt>{trans.__('made by')}</dt>
            <dd>{authors.join(', ')}</dd>
          </div>
        )}
        {run != null && (
          <div>
            <dt>{trans.__('run')}</dt>
            <dd>
              <button
                type="button"
                className="jp-mlops-link"
                onClick={() => open({ view: 'run', runId: run.run_id })}
              >
                {run.name}
              </button>
            </dd>
          </div>
        )}
        <div>
          <dt>{closed == null ? trans.__('expires') : trans.__('closed')}</dt>
          <dd>
            {closed == null ? <Until at={expires} /> : <RelativeTime at={closed} />}
            {closed_by != null && ` ${trans.__('by %1', closed_by)}`}
          </dd>
        </div>
        <div>
          <dt>{trans.__('request')}</dt>
          <dd>
            <ShortId id={request_id} />
          </dd>
        </div>
      </dl>
      {outcome !== '' && <p>{outcome}</p>}
      {!safe && (
        <p className="jp-mlops-warning">⚠ {trans.__('Its format can run code when it is loaded.')}</p>
      )}
      {missing.length > 0 && (
        <div className="jp-mlops-missing">
          <strong>{trans.__('Missing')}</strong>
          <ul>
            {missing.map(sentence => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        </div>
      )}
    </header>
  );
}

const DAY = 24 * 3600 * 1000;

/** How long until then. */
function Until({ at }: { readonly at: number }): ReactElement {
  const [now] = useState(() => Date.now());
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: 'always', style: 'short' });
  const left = at - now;
  const words = left > DAY ? format.format(Math.floor(left / DAY), 'day') : format.format(Math.ceil(left / 3_600_000), 'hour');
  const date = new Date(at);
  return (
    <time className="jp-mlops-time" dateTime={date.toISOString()} title={date.toLocaleString()}>
      {words}
    </time>
  );
}

const SIGNS = { open: '○', promoted: '✓', rejected: '✗', withdrawn: '■', superseded: '■', expired: '■' } as const;

function State({ promotion }: { readonly promotion: Promotion }): ReactElement {
  const { trans } = useHost();
  const { state, kind = 'request' } = promotion;
  const words = {
    open: trans.__('open'),
    promoted: trans.__('promoted'),
    rejected: trans.__('rejected'),
    withdrawn: trans.__('withdrawn'),
    superseded: trans.__('superseded'),
    expired: trans.__('expired')
  };
  const kinds = { request: words[state], rollback: trans.__('rolled back'), override: trans.__('OVERRIDE') };
  return (
    <span className="jp-mlops-state" data-state={state}>
      <span aria-hidden="true">{SIGNS[state]}</span> {kinds[kind]}
    </span>
  );
}
