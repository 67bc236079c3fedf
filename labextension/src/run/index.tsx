import { type ComponentType, lazy, type LazyExoticComponent, type ReactElement, Suspense, useId, useState } from 'react';

import type { Run } from '../api';
import { Failure, Loading } from '../components';
import { type RunAddress, useTitle, useTrans } from '../view';
import { Header } from './Header';
import { Overview } from './Overview';
import { useRun } from './queries';

interface TabProps {
  readonly run: Run;
}

// What is not seen first is loaded when it is.
const Charts = lazy(async () => ({ default: (await import('./Charts')).Charts }));
const Notebook = lazy(async () => ({ default: (await import('./notebook/Notebook')).NotebookTab }));
const Artifacts = lazy(async () => ({ default: (await import('./artifacts/Artifacts')).Artifacts }));
const Environment = lazy(async () => ({ default: (await import('./Environment')).Environment }));
const Lineage = lazy(async () => ({ default: (await import('./Lineage')).Lineage }));

/** One run. */
export function RunView({ runId }: RunAddress): ReactElement {
  const run = useRun(runId);
  useTitle(run.data?.name);
  if (run.data === undefined) {
    return run.error === null ? <Loading /> : <Failure error={run.error} onRetry={() => void run.refetch()} />;
  }
  return (
    <article className="jp-mlops-run">
      <Header run={run.data} />
      <Tabs run={run.data} />
    </article>
  );
}

type Tab = 'overview' | 'charts' | 'notebook' | 'artifacts' | 'environment' | 'lineage';

const SHOWN: Readonly<Record<Tab, ComponentType<TabProps> | LazyExoticComponent<ComponentType<TabProps>>>> = {
  overview: Overview,
  charts: Charts,
  notebook: Notebook,
  artifacts: Artifacts,
  environment: Environment,
  lineage: Lineage
};

function Tabs({ run }: TabProps): ReactElement {
  const trans = useTrans();
  const id = useId();
  const tabs: readonly (readonly [Tab, string])[] = [
    ['overview', trans.__('Overview')],
    ['charts', trans.__('Charts')],
    ['notebook', trans.__('Notebook')],
    ['artifacts', trans.__('Artifacts')],
    ['environment', trans.__('Environment')],
    ['lineage', trans.__('Lineage')]
  ];
  const [chosen, choose] = useState<Tab>('overview');
  const Shown = SHOWN[chosen];
  const move = (step: number): void => {
    const index = tabs.findIndex(([name]) => name === chosen);
    const next = tabs[(index + step + tabs.length) % tabs.length]?.[0] ?? chosen;
    choose(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return (
    <>
      <div
        role="tablist"
        className="jp-mlops-tabs"
        aria-label={trans.__('What is shown of the run')}
        onKeyDown={event => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (step !== undefined) {
            event.preventDefault();
            move(step);
          }
        }}
      >
        {tabs.map(([name, title]) => (
          <button
            key={name}
            id={`${id}-${name}`}
            type="button"
            role="tab"
            className="jp-mlops-tab"
            aria-selected={name === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={name === chosen ? 0 : -1}
            onClick={() => choose(name)}
          >
            {title}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`} tabIndex={0} className="jp-mlops-panel">
        <Suspense fallback={<Loading />}>
          <Shown run={run} />
        </Suspense>
      </div>
    </>
  );
}
