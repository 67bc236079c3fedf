import type { ReactElement, ReactNode } from 'react';

import type { Run } from '../api';
import { Empty } from '../components';
import { useHost, useTrans } from '../view';
import { useChildren, useReruns, useRun, useVersions } from './queries';
import { RunLink } from './RunLink';
import { RERUN_TAG, tag } from './tags';

/** Where it came from and what became of it: data, notebook, run, versions, aliases. */
export function Lineage({ run }: { readonly run: Run }): ReactElement {
  const { trans, open } = useHost();
  const versions = useVersions(run.run_id).data ?? [];
  const parent = useRun(run.parent_run_id).data;
  const original = useRun(tag(run, RERUN_TAG)).data;
  const children = useChildren(run.run_id).data ?? [];
  const reruns = useReruns(run.run_id).data ?? [];
  const { inputs = [] } = run;
  return (
    <ol className="jp-mlops-lineage">
      <Stage title={trans.__('Data')}>
        {inputs.length === 0 ? (
          <Empty>{trans.__('No data set was logged: mlops.log_input(…).')}</Empty>
        ) : (
          inputs.map(({ dataset, context = '' }) => (
            <p key={dataset.name + dataset.digest + context}>
              <strong>{dataset.name}</strong> {context} <code title={dataset.digest}>{dataset.digest.slice(0, 8)}</code>
            </p>
          ))
        )}
      </Stage>
      <Stage title={run.kind === 'notebook' ? trans.__('Notebook') : trans.__('Source')}>
        <p title={run.source}>{run.source === undefined || run.source === '' ? run.kind : run.source.split('/').at(-1)}</p>
        {original !== undefined && <Related title={trans.__('A rerun of')} runs={[original]} />}
      </Stage>
      <Stage title={trans.__('Run')}>
        {parent !== undefined && <Related title={trans.__('Part of')} runs={[parent]} />}
        <p>
          <strong>{run.name}</strong>
        </p>
        <Related title={trans.__('Its parts')} runs={children} />
        <Related title={trans.__('Run again as')} runs={reruns} />
      </Stage>
      <Stage title={trans.__('Versions')}>
        {versions.length === 0 ? (
          <Empty>{trans.__('No model of it is registered.')}</Empty>
        ) : (
          versions.map(({ model, version }) => (
            <p key={`${model}/${version}`}>
              <button type="button" className="jp-mlops-link" onClick={() => open({ view: 'registry', model })}>
                {model} v{version}
              </button>
            </p>
          ))
        )}
      </Stage>
      <Stage title={trans.__('Aliases')}>
        {versions.flatMap(({ model, version, aliases = [] }) =>
          aliases.map(alias => <p key={`${model}/${version}@${alias}`}>{`${model} @${alias}`}</p>)
        )}
      </Stage>
    </ol>
  );
}

function Stage({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactElement {
  return (
    <li>
      <h2>{title}</h2>
      {children}
    </li>
  );
}

const MANY = 20;

function Related({ title, runs }: { readonly title: string; readonly runs: readonly Run[] }): ReactElement | null {
  const trans = useTrans();
  return runs.length === 0 ? null : (
    <div>
      <h3>{title}</h3>
      <ul className="jp-mlops-list">
        {runs.slice(0, MANY).map(run => (
          <li key={run.run_id}>
            <RunLink run={run} />
          </li>
        ))}
      </ul>
      {runs.length > MANY && <p>{trans.__('and %1 more', runs.length - MANY)}</p>}
    </div>
  );
}
