import { queryOptions, useQuery, type UseQueryResult } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered, type ModelVersion, type Promotion, type RegisteredModel, type Run } from '../api';
import { Empty, Failure, Loading, RelativeTime } from '../components';
import { figure, size, toNumber } from '../components/figures';
import { SYSTEM } from '../run/tags';
import { useApi, useHost } from '../view';

const MOST_METRICS = 5;
const MOST_RUNS = 500;

interface Props {
  readonly model: RegisteredModel;
  readonly query: UseQueryResult<ModelVersion[]>;
  /** The version whose card is shown. */
  readonly chosen: number | null;
  readonly onChoose: (version: number) => void;
}

/** The versions of a model, beside the champion. */
export function Versions({ model, query, chosen, onChoose }: Props): ReactElement {
  const { trans, open } = useHost();
  const versions = query.data;
  const runs = useRuns(versions ?? []);
  const requests = useRequests(model.name);
  if (versions === undefined) {
    return query.error === null ? <Loading /> : <Failure error={query.error} onRetry={() => void query.refetch()} />;
  }
  if (versions.length === 0) {
    return <Empty>{trans.__('No versions yet: register a model from the page of the run that made it.')}</Empty>;
  }
  const { champion, metrics } = against(model, versions, runs);
  return (
    <div className="jp-mlops-scroll">
      <table className="jp-mlops-table">
        <thead>
          <tr>
            <th scope="col">{trans.__('version')}</th>
            <th scope="col">{trans.__('run')}</th>
            {metrics.map(key => (
              <th key={key} scope="col" className="jp-mlops-number">
                {key}
              </th>
            ))}
            <th scope="col" className="jp-mlops-number">
              {trans.__('size')}
            </th>
            <th scope="col">{trans.__('format')}</th>
            <th scope="col">{trans.__('checks')}</th>
            <th scope="col">{trans.__('by')}</th>
          </tr>
        </thead>
        <tbody>
          {versions.map(version => {
            const run = runs.get(version.run_id ?? '');
            return (
              <tr key={version.version} aria-selected={version.version === chosen}>
                <th scope="row">
                  <button
                    type="button"
                    className="jp-mlops-link"
                    title={trans.__('Show its card')}
                    onClick={() => onChoose(version.version)}
                  >
                    v{version.version}
                  </button>{' '}
                  {version.aliases?.map(alias => (
                    <span key={alias} className="jp-mlops-badge">
                      {alias}
                    </span>
                  ))}
                </th>
                <td>
                  {version.run_id != null && (
                    <button
                      type="button"
                      className="jp-mlops-link"
                      disabled={run === undefined}
                      title={run === undefined ? trans.__('You may not see this run, or it is gone') : undefined}
                      onClick={() => open({ view: 'run', runId: version.run_id ?? '' })}
                    >
                      {run?.name ?? version.run_id.slice(0, 8)}
                    </button>
                  )}
                </td>
                {metrics.map(key => (
                  <td key={key} className="jp-mlops-number">
                    <Against run={run} champion={champion === version.run_id ? undefined : runs.get(champion)} of={key} />
                  </td>
                ))}
                <td className="jp-mlops-number">{size(version.size ?? 0)}</td>
                <td>
                  {version.safe === false ? (
                    <span className="jp-mlops-badge" data-kind="warning" title={trans.__('It can run code when it is loaded')}>
                      ⚠ {trans.__('unsafe')}
                    </span>
                  ) : (
                    trans.__('safe')
                  )}
                </td>
                <td>
                  <Checks requests={requests} version={version.version} />
                </td>
                <td>
                  {version.user} <RelativeTime at={version.created} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

interface AgainstProps {
  readonly run: Run | undefined;
  /** What it is compared with; not with itself. */
  readonly champion: Run | undefined;
  readonly of: string;
}

function Against({ run, champion, of }: AgainstProps): ReactElement {
  const value = run?.metrics?.find(({ key }) => key === of)?.value;
  const before = champion?.metrics?.find(({ key }) => key === of)?.value;
  const change = toNumber(value) - toNumber(before);
  return (
    <>
      {figure(value)}
      {Number.isFinite(change) && change !== 0 && (
        <small>
          {' '}
          {change > 0 ? '+' : '−'}
          {figure(Math.abs(change))}
        </small>
      )}
    </>
  );
}

/** What checks found about a version, in the newest request for it. */
function Checks({ requests, version }: { readonly requests: readonly Promotion[]; readonly version: number }): ReactElement {
  const { trans, open } = useHost();
  const request = requests.find(each => each.version === version && (each.checks?.length ?? 0) > 0);
  if (request === undefined) {
    return <>–</>;
  }
  const checks = request.checks?.filter(({ round }) => (round ?? 1) === (request.round ?? 1)) ?? [];
  const passed = checks.filter(({ result }) => result?.verdict === 'passed').length;
  const failed = checks.filter(({ result }) => result != null && result.verdict !== 'passed').length;
  const words = failed > 0 ? trans.__('✗ %1 of %2', failed, checks.length) : trans.__('✓ %1 of %2', passed, checks.length);
  return (
    <button
      type="button"
      className="jp-mlops-link"
      title={checks.map(({ rule, result }) => `${rule.name}: ${result?.summary ?? trans.__('waiting')}`).join('\n')}
      onClick={() => open({ view: 'review', requestId: request.request_id })}
    >
      {words}
    </button>
  );
}

/** The champion's run, and the metrics that are shown. */
function against(
  model: RegisteredModel,
  versions: readonly ModelVersion[],
  runs: ReadonlyMap<string, Run>
): { champion: string; metrics: string[] } {
  const { aliases = [] } = model;
  const named = aliases.find(({ alias }) => alias === 'production') ?? aliases.find(({ alias }) => alias === 'champion');
  const champion = versions.find(({ version }) => version === named?.version)?.run_id ?? '';
  const keys = [runs.get(champion), ...runs.values()].flatMap(run => run?.metrics?.map(({ key }) => key) ?? []);
  const telling = keys.filter(key => !key.startsWith(SYSTEM));
  return { champion, metrics: [...new Set(telling)].slice(0, MOST_METRICS) };
}

function useRuns(versions: readonly ModelVersion[]): ReadonlyMap<string, Run> {
  const { v1 } = useApi();
  const ids = [...new Set(versions.flatMap(({ run_id }) => (run_id == null ? [] : [run_id])))].slice(0, MOST_RUNS);
  const filter = `run_id IN (${ids.map(id => `'${id}'`).join(', ')})`;
  const { data } = useQuery(
    queryOptions({
      queryKey: ['runs', 'of versions', ids],
      queryFn: async () => (await answered(v1.POST('/search/runs', { body: { filter, limit: MOST_RUNS } }))).items,
      enabled: ids.length > 0
    })
  );
  return new Map(data?.map(run => [run.run_id, run]));
}

/** All requests for a model, the newest first. */
function useRequests(name: string): readonly Promotion[] {
  const { v1 } = useApi();
  const { data } = useQuery(
    queryOptions({
      queryKey: ['model', name, 'all requests'],
      queryFn: async () => (await answered(v1.POST('/search/promotions', { body: { model: name, limit: 200 } }))).items
    })
  );
  return data ?? [];
}
