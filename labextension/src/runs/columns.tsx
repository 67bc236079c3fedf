/** The table's columns: attributes, then parameters, metrics and tags. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactNode } from 'react';

import type { Run } from '../api';
import { Progress, RelativeTime, Status } from '../components';
import { columnNumber, durationText, metricValue } from '../components/numbers';
import type { Column } from '../components/table';
import { ATTRIBUTES, type AttributeName, type Choice, chosen, showsAttribute } from './choice';
import { fieldName, type Facts, type FactsById } from './fields';
import type { Line } from './lines';
import { Sparkline } from './Sparkline';
import { bestOf, valuesOf } from './values';

interface Attribute {
  readonly title: string;
  readonly width: number;
  readonly isNumber?: boolean;
  /** What the server orders by; absent where it cannot. */
  readonly field?: string;
  readonly cell: (line: Line) => ReactNode;
}

const PARAM_WIDTH = 96;
const TAG_WIDTH = 120;
const SPARK_METRICS = 1;

/** The names of the groups of columns. */
export function groupNames(trans: TranslationBundle): Record<Facts['kind'], string> {
  return {
    attributes: trans.__('attributes'),
    params: trans.__('parameters'),
    metrics: trans.__('metrics'),
    tags: trans.__('tags')
  };
}

/** What is known of every run; `link` draws its name. */
export function attributes(trans: TranslationBundle, link: (run: Run) => ReactNode): Record<AttributeName, Attribute> {
  return {
    name: {
      title: trans.__('name'),
      width: 210,
      field: 'name',
      cell: ({ run, children, isExpanded }) => (
        <>
          {link(run)}
          {isExpanded !== undefined && (
            <span className="jp-mlops-runs-count"> {trans.__('%1 runs', run.progress?.total ?? children.length)}</span>
          )}
        </>
      )
    },
    status: { title: trans.__('status'), width: 130, field: 'status', cell: ({ run }) => <State run={run} /> },
    user: { title: trans.__('by'), width: 90, field: 'user', cell: ({ run }) => run.user },
    start_time: {
      title: trans.__('started'),
      width: 120,
      field: 'start_time',
      cell: ({ run }) => <RelativeTime at={run.start_time} />
    },
    duration: {
      title: trans.__('took'),
      width: 90,
      isNumber: true,
      cell: ({ run }) => run.end_time != null && durationText(run.end_time - run.start_time)
    },
    source: { title: trans.__('source'), width: 150, field: 'source', cell: ({ run }) => <Text text={run.source ?? ''} /> },
    remarks: { title: trans.__('remarks'), width: 220, cell: ({ run }) => <Remarks run={run} trans={trans} /> },
    kind: { title: trans.__('kind'), width: 80, field: 'kind', cell: ({ run }) => run.kind },
    run_id: {
      title: trans.__('id'),
      width: 90,
      field: 'run_id',
      cell: ({ run }) => <code title={run.run_id}>{run.run_id.slice(0, 8)}</code>
    }
  };
}

/** The columns to show. */
export function columnsOf(
  facts: FactsById,
  choice: Choice,
  runs: number,
  trans: TranslationBundle,
  link: (run: Run) => ReactNode
): Column<Line>[] {
  const known = attributes(trans, link);
  const names = groupNames(trans);
  const first = ATTRIBUTES.filter(name => name !== 'remarks' && showsAttribute(name, choice));
  const fields = chosen(facts, choice, runs);
  const sparks = new Set(fields.filter(id => facts.get(id)?.kind === 'metrics').slice(0, SPARK_METRICS));
  const columns: Column<Line>[] = first.map(name => attributeColumn(name, known[name], choice));
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
  if (showsAttribute('remarks', choice)) {
    columns.push(attributeColumn('remarks', known.remarks, choice));
  }
  return columns;
}

function attributeColumn(name: AttributeName, { title, width, isNumber, field, cell }: Attribute, { widths }: Choice): Column<Line> {
  const id = fieldName('attributes', name);
  return { id, title, width: widths[id] ?? width, isNumber, isSortable: field !== undefined, cell };
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
          {points.length > 1 && <Sparkline values={points.map(metricValue)} />}
          {metric !== undefined && <Figure value={metricValue(metric.value)} facts={facts} />}
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
