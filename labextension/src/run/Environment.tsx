import { type ReactElement, useState } from 'react';

import type { Artifact, Run } from '../api';
import { Empty, Failure, Loading } from '../components';
import { size } from '../components/figures';
import { useTrans } from '../view';
import { Diff } from './Diff';
import { parsed, useText } from './files';
import { MetricChart } from './MetricChart';
import { Part, Rows } from './Overview';
import { useFiles } from './queries';
import { SYSTEM } from './tags';

const FACTS = 'environment/environment.json';
const LOCK = 'environment/requirements.txt';
const CONDA = 'environment/conda.txt';
const DIFF = 'environment/git.diff';
const GIT = 'environment/git.json';

/** What it ran in: machine, packages, the state of the code, and what it used over time. */
export function Environment({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const files = useFiles(run.run_id);
  const usage = (run.metrics ?? []).filter(({ key }) => key.startsWith(SYSTEM));
  if (files.data === undefined) {
    return files.error === null ? <Loading /> : <Failure error={files.error} onRetry={() => void files.refetch()} />;
  }
  const file = (path: string): Artifact | undefined => files.data.find(each => each.path === path);
  const facts = file(FACTS);
  const lock = file(LOCK);
  const conda = file(CONDA);
  const diff = file(DIFF);
  const git = file(GIT);
  if ([facts, lock, conda, diff, git].every(each => each === undefined) && usage.length === 0) {
    return <Empty>{trans.__('Nothing is recorded of its environment; runs of notebooks have it.')}</Empty>;
  }
  return (
    <div className="jp-mlops-columns">
      {facts !== undefined && <Machine run={run} file={facts} />}
      {git !== undefined && <Checkout run={run} file={git} />}
      {usage.length > 0 && (
        <Part title={trans.__('Usage')}>
          {usage.map(metric => (
            <MetricChart
              key={metric.key}
              runId={run.run_id}
              metric={metric}
              look={{ axis: 'time', isLogarithmic: false, smoothing: 0 }}
            />
          ))}
        </Part>
      )}
      {lock !== undefined && <Packages run={run} file={lock} title={trans.__('Packages')} />}
      {conda !== undefined && <Packages run={run} file={conda} title={trans.__('Conda packages')} />}
      {diff !== undefined && (
        <Part title={trans.__('What differed from the commit')}>
          <Diff runId={run.run_id} file={diff} />
        </Part>
      )}
    </div>
  );
}

interface Props {
  readonly run: Run;
  readonly file: Artifact;
}

type Facts = Partial<Record<string, Readonly<Record<string, unknown>>>>;

function Machine({ run, file }: Props): ReactElement {
  const trans = useTrans();
  const text = useText(run.run_id, file);
  if (text.error !== null) {
    return <Failure error={text.error} onRetry={() => void text.refetch()} />;
  }
  const { machine = {}, python = {}, kernel = {} } = objectOf(parsed(text.data)) as Facts;
  const memory = machine.memory;
  const gpus = Array.isArray(machine.gpus) ? machine.gpus.map(gpu => words(objectOf(gpu).name)) : [];
  const rows: [string, string][] = [
    [trans.__('kernel'), words(kernel.display_name)],
    [trans.__('Python'), [words(python.implementation), words(python.version)].join(' ').trim()],
    [trans.__('environment'), words(python.prefix)],
    [trans.__('host'), words(machine.host)],
    [trans.__('system'), words(machine.system)],
    [trans.__('processor'), words(machine.processor)],
    [trans.__('cores'), words(machine.cpus)],
    [trans.__('memory'), typeof memory === 'number' ? size(memory) : ''],
    [trans.__('GPUs'), gpus.join(', ')]
  ];
  return (
    <Part title={trans.__('Machine')}>
      <Rows heads={[trans.__('What'), trans.__('Value')]} rows={rows.filter(([, value]) => value !== '')} />
    </Part>
  );
}

function Checkout({ run, file }: Props): ReactElement {
  const trans = useTrans();
  const git = objectOf(parsed(useText(run.run_id, file).data));
  const rows: [string, string][] = [
    [trans.__('commit'), words(git.commit)],
    [trans.__('branch'), words(git.branch)],
    [trans.__('remote'), words(git.remote)],
    [trans.__('folder'), words(git.root)],
    [trans.__('state'), git.dirty === true ? trans.__('with uncommitted changes') : trans.__('as committed')]
  ];
  return (
    <Part title={trans.__('Code')}>
      <Rows heads={[trans.__('What'), trans.__('Value')]} rows={rows.filter(([, value]) => value !== '')} />
    </Part>
  );
}

function Packages({ run, file, title }: Props & { readonly title: string }): ReactElement {
  const trans = useTrans();
  const text = useText(run.run_id, file);
  const [filter, setFilter] = useState('');
  if (text.data === undefined) {
    return text.error === null ? <Loading /> : <Failure error={text.error} onRetry={() => void text.refetch()} />;
  }
  const lines = text.data.split('\n').filter(line => line !== '' && !line.startsWith('#'));
  const found = lines.filter(line => line.toLowerCase().includes(filter.toLowerCase()));
  return (
    <Part title={trans.__('%1 (%2)', title, lines.length)}>
      <input
        type="search"
        aria-label={trans.__('Filter packages')}
        placeholder={trans.__('Filter…')}
        value={filter}
        onChange={event => setFilter(event.target.value)}
      />
      <pre className="jp-mlops-plain jp-mlops-packages" tabIndex={0}>
        {found.join('\n')}
      </pre>
    </Part>
  );
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function words(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
