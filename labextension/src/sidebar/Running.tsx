import { closeIcon } from '@jupyterlab/ui-components';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { activeRunsQuery, answered, jobsQuery, reason, type Run, useApi } from '../api';
import { Answer, Elapsed, Empty, Progress, Section } from '../components';
import { useHost, useTrans } from '../view';

const MOST_PARAMETERS = 3;

/** What works or waits, as it goes on. */
export function Running(): ReactElement {
  const api = useApi();
  const trans = useTrans();
  const active = useQuery(activeRunsQuery(api));
  const jobs = useQuery({ ...jobsQuery(api), enabled: api.connection.hasServer }).data ?? [];
  const own = new Set(jobs.filter(job => job.ended == null).map(job => job.run_id));
  return (
    <Section title={trans.__('Running')}>
      <Answer query={active}>
        {runs => {
          const all = new Set(runs.map(run => run.run_id));
          // Those of a sweep are told of by the sweep.
          const shown = runs.filter(run => run.parent_run_id == null || !all.has(run.parent_run_id));
          if (shown.length === 0) {
            return <Empty>{trans.__('Nothing is running.')}</Empty>;
          }
          return (
            <ul className="jp-mlops-list">
              {shown.map(run => (
                <ActiveRun key={run.run_id} run={run} isOwn={own.has(run.run_id)} />
              ))}
            </ul>
          );
        }}
      </Answer>
    </Section>
  );
}

interface Props {
  readonly run: Run;
  /** It was submitted through this server, which can end it. */
  readonly isOwn: boolean;
}

function ActiveRun({ run, isOwn }: Props): ReactElement {
  const { open, trans } = useHost();
  const parameters = (run.params ?? []).slice(0, MOST_PARAMETERS).map(({ key, text }) => `${key}=${text}`);
  return (
    <li className="jp-mlops-active">
      <button type="button" className="jp-mlops-row" onClick={() => open({ view: 'run', runId: run.run_id })}>
        <span className="jp-mlops-name" title={run.source}>
          {run.name} <span className="jp-mlops-owner">{parameters.join(' ')}</span>
        </span>
        {run.status === 'SCHEDULED' ? (
          <span className="jp-mlops-owner">{trans.__('waiting')}</span>
        ) : (
          <Elapsed from={run.start_time} />
        )}
        {run.progress != null && <Progress progress={run.progress} unit={run.kind === 'sweep' ? 'runs' : 'cells'} />}
      </button>
      {isOwn && <Cancel run={run} />}
    </li>
  );
}

function Cancel({ run }: { readonly run: Run }): ReactElement {
  const { server } = useApi();
  const { confirm, toast, trans } = useHost();
  const cache = useQueryClient();
  const label = trans.__('Cancel %1', run.name);
  const cancel = async (): Promise<void> => {
    const question = {
      title: trans.__('Cancel %1?', run.name),
      body: trans.__('It ends as KILLED. What it has done until now is kept.'),
      action: trans.__('Cancel the run'),
      isDangerous: true
    };
    if (!(await confirm(question))) {
      return;
    }
    try {
      await answered(server.POST('/jobs/{run_id}/cancel', { params: { path: { run_id: run.run_id } } }));
      await cache.invalidateQueries({ queryKey: ['jobs'] });
    } catch (error) {
      toast(trans.__('%1 could not be cancelled', run.name), 'error', { details: reason(error) });
    }
  };
  return (
    <button type="button" className="jp-mlops-icon-button" title={label} aria-label={label} onClick={() => void cancel()}>
      <closeIcon.react tag="span" width="14px" />
    </button>
  );
}
