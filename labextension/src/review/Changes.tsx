import { type ReactElement, type ReactNode, useState } from 'react';

import type { PromotionEvidence, RunSide } from '../api';
import { Empty } from '../components';
import { figure, size, toNumber } from '../components/figures';
import { Markdown } from '../components/rendered';
import { useHost } from '../view';
import { NotebookDiff } from './NotebookDiff';

type Row = NonNullable<PromotionEvidence['comparison']>['rows'][number];

/** What differs between the champion and the candidate. */
export function Changes({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement {
  const { trans, open } = useHost();
  const { candidate, champion, comparison } = evidence;
  const rows = comparison?.rows ?? [];
  const of = (group: Row['group']): Row[] => rows.filter(row => row.group === group);
  const runs = (comparison?.runs ?? []).map(({ run_id }) => run_id);
  return (
    <section className="jp-mlops-part" aria-label={trans.__('What changes')}>
      <h2>
        {champion == null ? trans.__('What comes') : trans.__('What changes')}{' '}
        {runs.length > 1 && (
          <button type="button" className="jp-mlops-link" onClick={() => open({ view: 'compare', runIds: runs })}>
            {trans.__('Compare the runs')}
          </button>
        )}
      </h2>
      {candidate?.run == null && (
        <Empty>{trans.__('You may not see the candidate’s run, or it is gone: what differs is not known here.')}</Empty>
      )}
      <dl className="jp-mlops-changes">
        <Group name={trans.__('metrics')}>
          {of('metrics').map(row => (
            <Metric key={row.name} row={row} />
          ))}
        </Group>
        <Group name={trans.__('size')}>
          <Sizes champion={champion ?? null} candidate={candidate} />
        </Group>
        <Group name={trans.__('parameters')} same={champion == null ? '' : trans.__('the same')}>
          {differing(of('params')).map(row => (
            <Change key={row.name} row={row} />
          ))}
        </Group>
        <Group name={trans.__('packages')} same={champion == null ? '' : trans.__('the same')}>
          {champion == null
            ? null
            : differing(of('packages')).map(row => <Change key={row.name} row={row} />)}
        </Group>
        <Group name={trans.__('data')}>
          <Data champion={champion ?? null} candidate={candidate} />
        </Group>
      </dl>
      <NotebookDiff evidence={evidence} />
      {candidate?.card !== undefined && candidate.card !== '' && (
        <Card text={candidate.card} version={candidate.version.version} />
      )}
    </section>
  );
}

interface GroupProps {
  readonly name: string;
  /** What is said when there is nothing. */
  readonly same?: string;
  readonly children: ReactNode;
}

function Group({ name, same = '', children }: GroupProps): ReactElement | null {
  const isEmpty = children === null || (Array.isArray(children) && children.length === 0);
  return isEmpty && same === '' ? null : (
    <div>
      <dt>{name}</dt>
      <dd>{isEmpty ? same : children}</dd>
    </div>
  );
}

function differing(rows: readonly Row[]): Row[] {
  return rows.filter(({ texts }) => texts.length < 2 || new Set(texts).size > 1);
}

function Metric({ row }: { readonly row: Row }): ReactElement {
  const values = row.values.map(value => figure(value as number | string | null));
  const [before, after] = row.values.map(value => toNumber(value as number | string | null));
  const change = after === undefined || before === undefined ? NaN : after - before;
  return (
    <span className="jp-mlops-change">
      {row.name} <span className="jp-mlops-figure">{values.map(value => value || '–').join(' → ')}</span>
      {Number.isFinite(change) && change !== 0 && (
        <small>
          {' '}
          ({change > 0 ? '+' : '−'}
          {figure(Math.abs(change))})
        </small>
      )}
    </span>
  );
}

function Change({ row }: { readonly row: Row }): ReactElement {
  return (
    <span className="jp-mlops-change">
      {row.name} <span className="jp-mlops-figure">{row.texts.map(text => text ?? '–').join(' → ')}</span>
    </span>
  );
}

interface Sides {
  readonly champion: RunSide | null;
  readonly candidate: RunSide | null;
}

function Sizes({ champion, candidate }: Sides): ReactElement {
  const sizes = [champion, candidate].flatMap(side => (side === null ? [] : [size(side.version.size ?? 0)]));
  return <span className="jp-mlops-change jp-mlops-figure">{sizes.join(' → ')}</span>;
}

function Data({ champion, candidate }: Sides): ReactElement {
  const { trans } = useHost();
  const before = new Set(champion?.datasets?.map(({ name, digest }) => `${name} ${digest}`));
  const datasets = candidate?.datasets ?? [];
  if (datasets.length === 0) {
    return <>{trans.__('none recorded')}</>;
  }
  return (
    <>
      {datasets.map(({ name, digest }) => (
        <span key={`${name} ${digest}`} className="jp-mlops-change" title={digest}>
          {name} <code>{digest.slice(0, 12)}</code>{' '}
          {champion !== null &&
            (before.has(`${name} ${digest}`) ? trans.__('the same as before') : trans.__('other than before'))}
        </span>
      ))}
    </>
  );
}

function Card({ text, version }: { readonly text: string; readonly version: number }): ReactElement {
  const { trans } = useHost();
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="jp-mlops-model-card" onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{trans.__('Card of version %1', version)}</summary>
      {isOpen && <Markdown text={text} />}
    </details>
  );
}
