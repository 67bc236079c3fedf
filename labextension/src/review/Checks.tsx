import type { ReactElement } from 'react';

import { checkNames, type CheckStatus, type Promotion } from '../api';
import { Empty, RelativeTime } from '../components';
import { duration } from '../components/figures';
import { useTrans } from '../view';

/** What was found out about the candidate, with the logs. */
export function Checks({ promotion }: { readonly promotion: Promotion }): ReactElement {
  const trans = useTrans();
  const { checks = [], round = 1, policy } = promotion;
  const shown = checks.filter(each => (each.round ?? 1) === round);
  return (
    <section className="jp-mlops-part" aria-label={trans.__('Checks')}>
      <h2>{trans.__('Checks')}</h2>
      {shown.length === 0 && (
        <Empty>
          {checkNames(policy).length === 0 ? trans.__('The policy asks for none.') : trans.__('None was done.')}
        </Empty>
      )}
      <ul className="jp-mlops-list jp-mlops-checks">
        {shown.map(check => (
          <li key={check.job_id}>
            <Check check={check} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Check({ check }: { readonly check: CheckStatus }): ReactElement {
  const trans = useTrans();
  const { rule, result, claimed_by } = check;
  if (result == null) {
    return (
      <p className="jp-mlops-check" data-verdict="waiting">
        <span aria-hidden="true">…</span> <strong>{rule.name}</strong>{' '}
        {claimed_by == null ? trans.__('waiting for a worker') : trans.__('running, on %1', claimed_by)}
      </p>
    );
  }
  const { verdict, summary, log = '', reported_by = '', self_reported = false, started = 0, ended = 0 } = result;
  const words = {
    passed: trans.__('passed'),
    failed: trans.__('failed'),
    error: trans.__('could not be done')
  };
  const line = (
    <>
      <span aria-hidden="true">{verdict === 'passed' ? '✓' : verdict === 'failed' ? '✗' : '⚠'}</span>{' '}
      <strong>{rule.name}</strong> <span className="jp-mlops-hidden">{words[verdict]}</span> {summary}
      {self_reported && (
        <span className="jp-mlops-badge" data-kind="warning">
          {trans.__('self-reported by %1: it does not count', reported_by)}
        </span>
      )}
    </>
  );
  return (
    <details className="jp-mlops-check" data-verdict={verdict}>
      <summary>{line}</summary>
      <p className="jp-mlops-faint">
        {trans.__('by %1', reported_by)} <RelativeTime at={ended} />, {duration(ended - started)}
      </p>
      <pre className="jp-mlops-plain">{log === '' ? trans.__('It wrote no log.') : log}</pre>
    </details>
  );
}
