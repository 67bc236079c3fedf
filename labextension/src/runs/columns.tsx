/** The table's columns: attributes, then parameters, metrics and tags. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactNode } from 'react';

import type { Run } from '../api';
import { Progress, RelativeTime, Status } from '../components';
import { Elapsed } from '../components/Elapsed';
import { toNumber } from '../components/figures';
import { columnNumber } from '../components/numbers';
import type { Column } from '../components/table';
import { ATTRIBUTES, type AttributeName, type Choice, chosen, showsAttribute } from './choice';
import { fieldName, type Facts, type Gathered } from './fields';
import type { Line } from './lines';
import { Sparkline } from './Sparkline';
import { bestOf, valuesOf } from './values';

interface Attribute {
  readonly width: number;
  readonly isNumber?: boolean;
  /** The server orders by it. */
  readonly isSortable?: boolean;
  readonly cell: (line: Line) => ReactNode;
}

const PARAM_WIDTH = 96;
const TAG_WIDTH = 120;
const SPARK_METRICS = 1;
/** Attributes after the values. */
const LAST: readonly AttributeName[] = ['source', 'remarks'];

/** The names of the groups of columns. */
export function groupNames(trans: TranslationBundle): Record<Facts['kind'], string> {
  return {
    attributes: trans.__('attributes'),
    params: trans.__('parameters'),
    metrics: trans.__('metrics'),
    tags: trans.__('tags')
  };
}

export function attributeTitles(trans: TranslationBundle): Record<AttributeName, string> {
  return {
    name: trans.__('name'),
    status: trans.__('status'),
    user: trans.__('by'),
    start_time: trans.__('started'),
    duration: trans.__('took'),
    source: trans.__('source'),
    remarks: trans.__('remarks'),
    kind: trans.__('kind'),
    run_id: trans.__('id')
  };
}

/** What is known of every run; `link` draws its name. */
function attributes(trans: TranslationBundle, link: (run: Run) => ReactNode): Record<AttributeName, Attribute> {
  return {
    name: {
      width: 210,
      isSortable: true,
      cell: ({ run, children, isExpanded }) => (
        <>
          {link(run)}
          {isExpanded !== undefined && (
            <span className="jp-mlops-runs-count">
              {' '}
              {trans._n('%1 run', '%1 runs', run.progress?.total ?? children.length)}
            </span>
          )}
        </>
      )
    },
    status: { width: 132, isSortable: true, cell: ({ run }) => <State run={run} /> },
    user: { width: 80, isSortable: true, cell: ({ run }) => <Text text={run.user} /> },
    start_time: { width: 110, isSortable: true, cell: ({ run }) => <RelativeTime at={run.start_time} /> },
    duration: { width: 84, isNumber: true, cell: ({ run }) => <Took run={run} /> },
    source: { width: 150, isSortable: true, cell: ({ run }) => <Text text={run.source ?? ''} /> },
    remarks: { width: 260, cell: ({ run }) => <Remarks run={run} trans={trans} /> },
    kind: { width: 80, isSortable: true, cell: ({ run }) => run.kind },
    run_id: { width: 90, isSortable: true, cell: ({ run }) => <code title={run.run_id}>{run.run_id.slice(0, 8)}</code> }
  };
}

/** The columns to show. */
export function columnsOf(
  gathered: Gathered,
  choice: Choice,
  trans: TranslationBundle,
  link: (run: Run) => ReactNode
): Column<Line>[] {
  const known = attributes(trans, link);
  const names = groupNames(trans);
  const first = ATTRIBUTES.filter(name => !LAST.includes(name) && showsAttribute(name, choice));
  const { facts } = gathered;
  const fields = chosen(gathered, choice);
  const sparks = new Set(fields.filter(id => facts.get(id)?.kind === 'metrics').slice(0, SPARK_METRICS));
  const titles = attributeTitles(trans);
  const attribute = (name: AttributeName): Column<Line> => {
    const id = fieldName('attributes', name);
    return { ...known[name], id, title: titles[name], width: choice.widths[id] ?? known[name].width };
  };
  const columns = first.map(attribute);
  for (const id of fields) {
    const each = facts.get(id);
    if (each !== undefined) {
      columns.push({
        id,
        group: names[each.kind],
        title: each.key,
        width: choice.widths[id] ?? (each.kind === 'tags' ? TAG_WIDTH : PARAM_WIDTH) + (sparks.has(id) ? 60 : 0),
        isNumber: each.isNumber,
        isSortable: true,
        cell: line => valueCell(line, each, sparks.has(id))
      });
    }
  }
  const last = LAST.filter(name => showsAttribute(name, choice));
  return [...columns, ...last.map(attribute)];
}

function valueCell({ run, children, isExpanded }: Line, facts: Facts, hasSpark: boolean): ReactNode {
  // A sweep that is folded stands there with what its best run has.
  const shown = isExpanded === false ? (bestOf(run, children) ?? run) : run;
  const { params, metrics, tags } = valuesOf(shown);
  switch (facts.kind) {
    case 'params': {
      const param = params.get(facts.key);
      return param !== undefined && <Text text={param.text} />;
    }
    case 'metrics': {
      const metric = metrics.get(facts.key);
      const points = hasSpark && children.length > 1 ? children.map(child => valuesOf(child).metrics.get(facts.key)?.value) : [];
      return (
        <>
          {points.length > 1 && <Sparkline values={points.map(toNumber)} />}
          {metric !== undefined && <Figure value={toNumber(metric.value)} facts={facts} />}
        </>
      );
    }
    default:
      return <Text text={tags.get(facts.key) ?? ''} />;
  }
}

function Figure({ value, facts }: { readonly value: number; readonly facts: Facts }): ReactNode {
  return <span title={String(value)}>{columnNumber(value, facts)}</span>;
}

function Text({ text }: { readonly text: string }): ReactNode {
  return <span title={text}>{text}</span>;
}

function Took({ run: { status, start_time, end_time } }: { readonly run: Run }): ReactNode {
  return status !== 'SCHEDULED' && <Elapsed from={start_time} to={end_time} />;
}

function State({ run }: { readonly run: Run }): ReactNode {
  const isGoing = run.status === 'RUNNING' && run.progress != null;
  return (
    <>
      <Status status={run.status} isShort={isGoing} />
      {isGoing && run.progress != null && (
        <Progress progress={run.progress} unit={run.kind === 'sweep' ? 'runs' : 'cells'} />
      )}
    </>
  );
}

/** Why it failed, and what to beware of. */
function Remarks({ run: { reason, hidden_state }, trans }: { readonly run: Run; readonly trans: TranslationBundle }): ReactNode {
  const cell = reason?.cell == null ? '' : `${trans.__('cell %1', reason.cell + 1)}: `;
  return (
    <>
      {hidden_state != null && (
        <span className="jp-mlops-runs-mark" title={hidden_state}>
          ⚠ {trans.__('hidden state')}{' '}
        </span>
      )}
      {reason != null && <Text text={`${cell}${reason.message === '' ? reason.kind : reason.message}`} />}
    </>
  );
}
