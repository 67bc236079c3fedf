import type { ReactElement, ReactNode } from 'react';

import type { ModelVersion, Run } from '../api';
import { RelativeTime, ShortId, Status } from '../components';
import { Elapsed } from '../components/Elapsed';
import { Progress } from '../components/Progress';
import { useHost } from '../view';
import { Actions } from './Actions';
import { useExperiment, useReruns, useVersions } from './queries';
import { COMMIT_TAG, DIRTY_TAG, KERNEL_TAG, NOTICE_TAG, tag } from './tags';

/** What a run is, how it stands, and what can be done with it. */
export function Header({ run }: { readonly run: Run }): ReactElement {
  const { trans, open } = useHost();
  const experiment = useExperiment(run.experiment_id);
  const commit = tag(run, COMMIT_TAG);
  const isDirty = tag(run, DIRTY_TAG) === 'true';
  const facts: [string, ReactNode][] = [
    [
      trans.__('experiment'),
      <button
        type="button"
        className="jp-mlops-link"
        onClick={() => open({ view: 'runs', experimentId: run.experiment_id })}
      >
        {experiment.data?.name ?? run.experiment_id.slice(0, 8)}
      </button>
    ],
    [trans.__('by'), <By run={run} />],
    [trans.__('started'), <RelativeTime at={run.start_time} />],
    [run.end_time == null ? trans.__('for') : trans.__('took'), <Elapsed from={run.start_time} to={run.end_time} />],
    [trans.__('kernel'), tag(run, KERNEL_TAG)],
    [
      trans.__('commit'),
      commit === undefined ? undefined : (
        <>
          <code title={commit}>{commit.slice(0, 8)}</code>
          {isDirty && ` ${trans.__('with uncommitted changes')}`}
        </>
      )
    ],
    [trans.__('id'), <ShortId id={run.run_id} />]
  ];
  return (
    <header className="jp-mlops-run-header">
      <div className="jp-mlops-run-title">
        <h1>{run.name}</h1>
        <Status status={run.status} />
        {run.status === 'RUNNING' && run.progress != null && (
          <Progress progress={run.progress} unit={run.kind === 'sweep' ? 'runs' : 'cells'} />
        )}
        <Badges run={run} />
      </div>
      <dl className="jp-mlops-facts">
        {facts
          .filter(([, value]) => value !== undefined)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        {run.source !== undefined && run.source !== '' && (
          <div>
            <dt>{run.kind === 'notebook' ? trans.__('notebook') : trans.__('source')}</dt>
            <dd title={run.source}>{run.source.split('/').at(-1)}</dd>
          </div>
        )}
      </dl>
      <Warnings run={run} />
      <Actions run={run} />
    </header>
  );
}

function By({ run }: { readonly run: Run }): ReactElement {
  const { trans } = useHost();
  return run.submitted_by == null ? (
    <>{run.user}</>
  ) : (
    <span title={trans.__('As the server of %1 says; nobody has verified it.', run.user)}>
      {trans.__('%1, submitted by %2', run.user, run.submitted_by)}
    </span>
  );
}

function Badges({ run }: { readonly run: Run }): ReactElement {
  const { trans, open } = useHost();
  const reruns = useReruns(run.run_id).data ?? [];
  const versions = useVersions(run.run_id).data ?? [];
  const again = reruns.filter(each => each.status === 'FINISHED').length;
  return (
    <span className="jp-mlops-badges">
      {run.lifecycle === 'deleted' && <span className="jp-mlops-badge">{trans.__('deleted')}</span>}
      {run.hidden_state != null && (
        <span className="jp-mlops-badge" data-kind="warning" title={run.hidden_state}>
          ⚠ {trans.__('hidden state')}
        </span>
      )}
      {again > 0 && (
        <span className="jp-mlops-badge" title={trans.__('Runs that ran its notebook again, and finished.')}>
          ↻ {trans._n('run again once', 'run again %1 times', again)}
        </span>
      )}
      {versions.map(version => (
        <button
          key={`${version.model}/${version.version}`}
          type="button"
          className="jp-mlops-badge"
          onClick={() => open({ view: 'registry', model: version.model })}
        >
          {registered(version)}
        </button>
      ))}
    </span>
  );
}

/** `churn v7 @production`. */
function registered({ model, version, aliases = [] }: ModelVersion): string {
  return [`${model} v${version}`, ...aliases.map(alias => `@${alias}`)].join(' ');
}

function Warnings({ run }: { readonly run: Run }): ReactElement {
  const { trans } = useHost();
  const { reason } = run;
  const notice = tag(run, NOTICE_TAG);
  return (
    <>
      {reason != null && (
        <section className="jp-mlops-reason" aria-label={trans.__('Why it ended')}>
          <p>
            <strong>{reason.cell == null ? reason.kind : trans.__('%1 in cell %2', reason.kind, reason.cell + 1)}</strong>
            {`: ${reason.message}`}
          </p>
          {reason.traceback != null && (
            <details>
              <summary>{trans.__('Traceback')}</summary>
              <pre className="jp-mlops-plain">{reason.traceback}</pre>
            </details>
          )}
        </section>
      )}
      {run.hidden_state != null && (
        <p className="jp-mlops-warning">
          ⚠ {trans.__('It may depend on code that is not in the record: %1', run.hidden_state)}
        </p>
      )}
      {notice !== undefined && <p className="jp-mlops-warning">⚠ {notice}</p>}
    </>
  );
}
