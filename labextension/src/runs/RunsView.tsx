/** The runs of an experiment: a table to find, compare, tag and delete them in. */
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, type ReactNode, useCallback, useMemo, useState } from 'react';

import { answered, type Run } from '../api';
import { Empty, Failure, Loading, Owner } from '../components';
import { type Sorting, Table } from '../components/table';
import { type RunsAddress, useApi, useHost } from '../view';
import { chosen, isConstant } from './choice';
import { columnsOf } from './columns';
import { gatheredFrom } from './fields';
import { type Line, useLines } from './lines';
import { useRuns } from './pages';
import { useChoice } from './remembered';
import { Same } from './Same';

const NOBODY: ReadonlySet<string> = new Set();
/** Rows before the end of what is loaded at which more is asked for. */
const AHEAD = 200;

export function RunsView({ experimentId }: RunsAddress): ReactElement {
  const { v1 } = useApi();
  const host = useHost();
  const { trans } = host;
  const [filter] = useState('');
  const [sorting, setSorting] = useState<Sorting | null>(null);
  const [selected, setSelected] = useState(NOBODY);
  const [expanded, setExpanded] = useState(NOBODY);
  const [seen, setSeen] = useState({ first: 0, last: 0 });
  const [choice, setChoice] = useChoice(experimentId);

  const experiment = useQuery({
    queryKey: ['experiment', experimentId, 'counted'],
    queryFn: async () => {
      const body = { filter: `attributes.experiment_id = '${experimentId}'`, view: 'ALL', limit: 1 } as const;
      return (await answered(v1.POST('/search/experiments', { body }))).items[0] ?? null;
    }
  });
  // Who looks for values looks for single runs.
  const isFolded = filter === '' && (sorting === null || sorting.column.startsWith('attributes.'));
  const found = useRuns({
    experimentId,
    filter: isFolded ? 'attributes.parent_run_id IS NULL' : filter,
    order: sorting === null ? '' : `${sorting.column} ${sorting.isDescending ? 'DESC' : 'ASC'}`,
    isDeleted: false
  });
  const runs = useMemo(() => found.pages.flat(), [found.pages]);
  const lines = useLines(runs, isFolded, expanded, seen);
  const facts = useMemo(() => gatheredFrom(found.pages), [found.pages]);
  const { link: linkTo, open } = host;
  const name = useCallback(
    (run: Run): ReactNode => (
      <a
        href={linkTo({ view: 'run', runId: run.run_id })}
        tabIndex={-1}
        title={run.name}
        onClick={event => {
          if (!event.ctrlKey && !event.metaKey) {
            event.preventDefault();
            open({ view: 'run', runId: run.run_id });
          }
        }}
      >
        {run.name}
      </a>
    ),
    [linkTo, open]
  );
  const columns = useMemo(
    () => columnsOf(facts, choice, runs.length, trans, name),
    [facts, choice, runs.length, trans, name]
  );
  const { more } = found;
  const loaded = lines.length;
  const reach = useCallback(
    (first: number, last: number) => {
      setSeen(before => (before.first === first && before.last === last ? before : { first, last }));
      if (last + AHEAD >= loaded) {
        more();
      }
    },
    [more, loaded]
  );
  const sort = useCallback(
    (column: string) =>
      setSorting(before =>
        before?.column !== column
          ? { column, isDescending: true }
          : before.isDescending
            ? { column, isDescending: false }
            : null
      ),
    []
  );
  const rowId = useCallback((line: Line) => line.run.run_id, []);
  const openLine = useCallback((line: Line) => open({ view: 'run', runId: line.run.run_id }), [open]);
  const expand = useCallback(({ run }: Line) => setExpanded(before => toggled(before, run.run_id)), []);

  if (found.isLoading) {
    return <Loading />;
  }
  if (found.error !== null && runs.length === 0) {
    return <Failure error={found.error} onRetry={found.again} />;
  }
  const shown = new Set(chosen(facts, choice, runs.length));
  const same = [...facts].filter(([id]) => !shown.has(id) && isConstant(id, facts, runs.length)).map(([, each]) => each);
  return (
    <div className="jp-mlops-runs">
      <header className="jp-mlops-runs-head">
        <h1>
          {experiment.data?.name ?? ''} {experiment.data != null && <Owner owner={experiment.data.owner} />}
        </h1>
      </header>
      <Same facts={same} runs={runs.length} hasMore={found.hasMore} />
      {runs.length === 0 ? (
        <Empty>{trans.__('No runs yet: run a notebook in this experiment, and it appears here.')}</Empty>
      ) : (
        <Table<Line>
          label={trans.__('Runs of %1', experiment.data?.name ?? '')}
          columns={columns}
          rows={lines}
          rowId={rowId}
          total={found.hasMore ? lines.length + 1 : lines.length}
          isOpenEnded={found.hasMore}
          sorting={sorting}
          onSort={sort}
          onResize={(column, width) => setChoice({ ...choice, widths: { ...choice.widths, [column]: width } })}
          selected={selected}
          onSelect={setSelected}
          onOpen={openLine}
          level={line => line.level}
          isExpanded={isFolded ? line => line.isExpanded : undefined}
          onExpand={expand}
          onReach={reach}
        />
      )}
    </div>
  );
}

function toggled(ids: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const changed = new Set(ids);
  if (!changed.delete(id)) {
    changed.add(id);
  }
  return changed;
}
