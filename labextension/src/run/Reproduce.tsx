import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { answered, type Reproduction, type Run } from '../api';
import { Failure, Loading, RelativeTime, Status } from '../components';
import { figure } from '../components/figures';
import { useApi, useHost, useTrans } from '../view';
import { reproduceCommand } from './code';
import { Rows } from './Overview';
import { useReruns } from './queries';

/** Whether the notebook gives the same once more. */
export function Reproduce({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const { connection } = useApi();
  const reruns = useReruns(run.run_id).data ?? [];
  return (
    <section className="jp-mlops-form" aria-label={trans.__('Reproduce')}>
      {connection.hasServer ? <Start run={run} /> : <Command run={run} />}
      {reruns.length > 0 && (
        <ul className="jp-mlops-list">
          {reruns.map(again => (
            <li key={again.run_id}>
              <Again run={run} again={again} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Runs it again on the user's server. */
function Start({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const { server } = useApi();
  const cache = useQueryClient();
  // Values that are not recorded must be given again.
  const names = (run.params ?? []).filter(({ redacted }) => redacted === true).map(({ key }) => key);
  const [secrets, setSecrets] = useState<Readonly<Record<string, string>>>({});
  const start = useMutation({
    mutationFn: () =>
      answered(
        server.POST('/runs/{run_id}/reproduction', {
          params: { path: { run_id: run.run_id } },
          body: { parameters: secrets as Record<string, never> }
        })
      ),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['runs', 'reruns', run.run_id] })
  });
  return (
    <form
      className="jp-mlops-form"
      onSubmit={event => {
        event.preventDefault();
        start.mutate();
      }}
    >
      <p>{trans.__('Runs the notebook again as it was, with its parameters, and compares the metrics.')}</p>
      {names.map(name => (
        <label key={name}>
          {name}{' '}
          <input
            type="password"
            required
            autoComplete="off"
            value={secrets[name] ?? ''}
            onChange={event => setSecrets({ ...secrets, [name]: event.target.value })}
          />
        </label>
      ))}
      <button type="submit" className="jp-mlops-button" disabled={start.isPending}>
        {trans.__('Run it again')}
      </button>
      {start.error !== null && <Failure error={start.error} />}
    </form>
  );
}

/** What does it where there is no server to run it on. */
function Command({ run }: { readonly run: Run }): ReactElement {
  const { trans, toast } = useHost();
  const command = reproduceCommand(run);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(command);
    toast(trans.__('Copied'), 'success');
  };
  return (
    <>
      <p>{trans.__('This command runs the notebook again, compares the metrics, and says what else differs:')}</p>
      <pre className="jp-mlops-plain">{command}</pre>
      <button type="button" className="jp-mlops-button" onClick={() => void copy()}>
        {trans.__('Copy')}
      </button>
    </>
  );
}

interface AgainProps {
  readonly run: Run;
  readonly again: Run;
}

function Again({ run, again }: AgainProps): ReactElement {
  const { trans, open } = useHost();
  const { connection } = useApi();
  return (
    <>
      <Status status={again.status} />{' '}
      <button
        type="button"
        className="jp-mlops-link"
        onClick={() => open({ view: 'run', runId: again.run_id })}
      >
        {again.name}
      </button>{' '}
      <RelativeTime at={again.start_time} />{' '}
      <button
        type="button"
        className="jp-mlops-link"
        onClick={() => open({ view: 'compare', runIds: [run.run_id, again.run_id] })}
      >
        {trans.__('Compare')}
      </button>
      {connection.hasServer && run.status === 'FINISHED' && again.status === 'FINISHED' && (
        <Verdict run={run} again={again} />
      )}
    </>
  );
}

function Verdict({ run, again }: AgainProps): ReactElement {
  const trans = useTrans();
  const verdict = useReproduction(run, again);
  if (verdict.data === undefined) {
    return verdict.error === null ? <Loading /> : <Failure error={verdict.error} />;
  }
  const { agreement, metrics, surroundings } = verdict.data;
  const signs: Readonly<Record<string, string>> = { equal: '✓', 'within tolerance': '≈', different: '✗' };
  const words: Readonly<Record<string, string>> = {
    equal: trans.__('equal'),
    'within tolerance': trans.__('within tolerance'),
    different: trans.__('different')
  };
  const said = (level: string): string => `${signs[level] ?? ''} ${words[level] ?? level}`;
  const parts: [string, readonly unknown[] | null | undefined][] = [
    [trans.__('packages'), surroundings.packages],
    [trans.__('code'), surroundings.code],
    [trans.__('data'), surroundings.data]
  ];
  return (
    <>
      <p>
        <strong>{said(agreement)}</strong>
        {parts.map(([name, found]) =>
          found == null ? null : (
            <span key={name}>
              {'; '}
              {found.length === 0 ? trans.__('%1: the same', name) : trans.__('%1: %2 differ', name, found.length)}
            </span>
          )
        )}
      </p>
      <Rows
        heads={[trans.__('Metric'), trans.__('Recorded'), trans.__('Again'), trans.__('Agreement')]}
        numbers={[1, 2]}
        rows={metrics.map(metric => [
          metric.key,
          figure(metric.recorded),
          metric.again === null ? trans.__('none') : figure(metric.again),
          said(metric.agreement)
        ])}
      />
    </>
  );
}

function useReproduction(run: Run, again: Run): ReturnType<typeof useQuery<Reproduction>> {
  const { server } = useApi();
  return useQuery({
    queryKey: ['reproduction', run.run_id, again.run_id],
    queryFn: () =>
      answered(
        server.GET('/runs/{run_id}/reproduction', {
          params: { path: { run_id: run.run_id }, query: { again: again.run_id } }
        })
      )
  });
}
