/** The runs of an experiment: a table to find, compare, tag and delete them in, and charts to select them on. */
import { useQuery } from '@tanstack/react-query';
import { lazy, type ReactElement, type ReactNode, useCallback, useEffect, useMemo, useState } from 'react';

import { answered, ApiError, type Run } from '../api';
import { Empty, Failure, Loading, Owner } from '../components';
import { ShareMenu } from '../components/ShareMenu';
import { type Sorting, Table } from '../components/table';
import { type RunsAddress, useApi, useHost, useTitle } from '../view';
import { chosen, isConstant } from './choice';
import { codeOfSearch } from './code';
import { ColumnsMenu } from './ColumnsMenu';
import { columnsOf } from './columns';
import { gatheredFrom, isSystems } from './fields';
import { FilterBar } from './filter/FilterBar';
import { CHUNK, type Line, useLines } from './lines';
import { useRuns } from './pages';
import { LookSwitch } from './LookSwitch';
import { useChoice } from './remembered';
import { RunName } from './RunName';
import { Same } from './Same';
import { SelectionBar } from './SelectionBar';

const RunCharts = lazy(async () => ({ default: (await import('./RunCharts')).RunCharts }));

const NOBODY: ReadonlySet<string> = new Set();
/** Rows before the end of what is loaded at which more is asked for. */
const AHEAD = 200;
/** Runs that charts show. */
const MOST_CHARTED = 1500;
const ORPHANS = 'attributes.parent_run_id IS NULL';

export function RunsView(address: RunsAddress): ReactElement {
  const { experimentId } = address;
  const { v1 } = useApi();
  const { open, trans } = useHost();
  const [choice, choose] = useChoice(address);
  const [isDeleted, setDeleted] = useState(false);
  const [selected, setSelected] = useState(NOBODY);
  const [expanded, setExpanded] = useState(NOBODY);
  const [seen, setSeen] = useState({ first: 0, last: 0 });
  const { filter, order, look } = choice;
  const isChart = look === 'chart';
  const sorting = useMemo(() => sortingOf(order), [order]);

  const experiment = useQuery({
    queryKey: ['experiment', experimentId, 'counted'],
    queryFn: async () => {
      const body = { filter: `attributes.experiment_id = '${experimentId}'`, view: 'ALL', limit: 1 } as const;
      return (await answered(v1.POST('/search/experiments', { body }))).items[0] ?? null;
    }
  });
  useTitle(experiment.data?.name);
  // Who looks for values looks for single runs.
  const isFolded = !isChart && filter === '' && !isDeleted && (sorting === null || sorting.column.startsWith('attributes.'));
  const found = useRuns({ experimentId, filter: isFolded ? ORPHANS : filter, order, isDeleted });
  const { pages, hasMore, more } = found;
  const runs = useMemo(() => pages.flat(), [pages]);
  const isMoreCharted = isChart && hasMore && runs.length < MOST_CHARTED;
  useEffect(() => {
    if (isMoreCharted) {
      more();
    }
  }, [isMoreCharted, more]);
  const { lines, children } = useLines(runs, isFolded, expanded, seen);
  const gathered = useMemo(() => gatheredFrom([...pages, children]), [pages, children]);
  const name = useCallback((run: Run): ReactNode => <RunName run={run} />, []);
  const columns = useMemo(() => columnsOf(gathered, choice, trans, name), [gathered, choice, trans, name]);
  const chosenRuns = useMemo(() => {
    const known = new Map([...children, ...lines.map(line => line.run)].map(run => [run.run_id, run]));
    return [...selected].flatMap(id => known.get(id) ?? []);
  }, [lines, children, selected]);
  const loaded = lines.length;
  const reach = useCallback(
    (first: number, last: number) => {
      // What is around the rows is drawn anew only when another chunk comes into view.
      const chunk = { first: first - (first % CHUNK), last: last - (last % CHUNK) };
      setSeen(before => (before.first === chunk.first && before.last === chunk.last ? before : chunk));
      if (last + AHEAD >= loaded) {
        more();
      }
    },
    [more, loaded]
  );
  const openLine = useCallback(({ run }: Line) => open({ view: 'run', runId: run.run_id }), [open]);
  const expand = useCallback(({ run }: Line) => setExpanded(before => toggled(before, run.run_id)), []);
  const sort = useCallback((column: string) => choose({ order: nextOrder(sorting, column) }), [choose, sorting]);
  const resize = useCallback(
    (column: string, width: number) => choose({ widths: { ...choice.widths, [column]: width } }),
    [choose, choice.widths]
  );
  const apply = (wanted: string): void => {
    setSelected(NOBODY);
    choose({ filter: wanted });
  };

  const refusal = found.error instanceof ApiError && found.error.status === 400 && filter !== '' ? found.error.message : null;
  if (found.error !== null && refusal === null && runs.length === 0) {
    return <Failure error={found.error} onRetry={found.again} />;
  }
  const shown = new Set(chosen(gathered, choice));
  const same = [...gathered.facts]
    .filter(([id, each]) => !shown.has(id) && isConstant(id, gathered) && !isSystems(each.kind, each.key))
    .map(([, each]) => each);
  // How many there will be is known while nothing is left out or folded.
  const isCounted = filter === '' && !isDeleted && children.length === 0;
  const total = hasMore ? Math.max(loaded + 1, isCounted ? (experiment.data?.runs ?? 0) : 0) : loaded;
  return (
    <div className="jp-mlops-runs">
      <header className="jp-mlops-runs-head">
        <h1>
          {experiment.data?.name ?? ''} {experiment.data != null && <Owner owner={experiment.data.owner} />}
        </h1>
        <FilterBar
          filter={filter}
          facts={gathered.facts}
          runs={runs}
          problem={refusal}
          onApply={apply}
        />
        <select
          className="jp-mlops-select"
          aria-label={trans.__('Which runs')}
          value={isDeleted ? 'deleted' : 'active'}
          onChange={event => {
            setSelected(NOBODY);
            setDeleted(event.target.value === 'deleted');
          }}
        >
          <option value="active">{trans.__('Active')}</option>
          <option value="deleted">{trans.__('Deleted')}</option>
        </select>
        {!isChart && <ColumnsMenu gathered={gathered} choice={choice} onChoose={choose} />}
        <LookSwitch look={look} onChoose={chosenLook => choose({ look: chosenLook })} />
        <ShareMenu
          address={{ view: 'runs', experimentId, filter, order, look }}
          code={codeOfSearch({ experimentId, filter, order })}
        />
      </header>
      {chosenRuns.length > 0 && (
        <SelectionBar
          runs={chosenRuns}
          isDeleted={isDeleted}
          tagKeys={[...gathered.facts.values()].filter(({ kind }) => kind === 'tags').map(({ key }) => key)}
          onClear={() => setSelected(NOBODY)}
        />
      )}
      <Same facts={same} runs={gathered.runs} hasMore={hasMore} />
      {found.isLoading ? (
        <Loading />
      ) : loaded === 0 ? (
        <Nothing filter={filter} isDeleted={isDeleted} onClear={() => apply('')} />
      ) : isChart ? (
        <RunCharts runs={runs} gathered={gathered} selected={chosenRuns} onSelect={setSelected} />
      ) : (
        <Table<Line>
          label={trans.__('Runs of %1', experiment.data?.name ?? '')}
          columns={columns}
          rows={lines}
          rowId={lineId}
          total={total}
          isOpenEnded={hasMore && !isCounted}
          isBusy={found.isOld}
          sorting={sorting}
          onSort={sort}
          onResize={resize}
          selected={selected}
          onSelect={setSelected}
          onOpen={openLine}
          level={lineLevel}
          isExpanded={isFolded ? isLineExpanded : undefined}
          onExpand={expand}
          onReach={reach}
        />
      )}
      <footer className="jp-mlops-runs-foot">
        <span>
          {hasMore && !isChart
            ? trans.__('%1 loaded; more come as you scroll', loaded)
            : hasMore
              ? trans.__('The first %1 runs are drawn; the filter and the order say which', runs.length)
              : trans._n('%1 run', '%1 runs', runs.length)}
        </span>
        {found.news > 0 && (
          <button type="button" className="jp-mlops-link" onClick={found.again}>
            {trans._n('%1 new run: show it', '%1 new runs: show them', found.news)}
          </button>
        )}
        {found.error !== null && refusal === null && <span role="alert">{found.error.message}</span>}
      </footer>
    </div>
  );
}

interface NothingProps {
  readonly filter: string;
  readonly isDeleted: boolean;
  readonly onClear: () => void;
}

function Nothing({ filter, isDeleted, onClear }: NothingProps): ReactElement {
  const { trans } = useHost();
  if (filter !== '') {
    return (
      <Empty>
        {trans.__('No run matches the filter.')}{' '}
        <button type="button" className="jp-mlops-link" onClick={onClear}>
          {trans.__('Clear it')}
        </button>
      </Empty>
    );
  }
  return (
    <Empty>
      {isDeleted
        ? trans.__('No run of this experiment is deleted.')
        : trans.__('No runs yet: run a notebook in this experiment, and it appears here.')}
    </Empty>
  );
}

const lineId = (line: Line): string => line.run.run_id;
const lineLevel = (line: Line): number => line.level;
const isLineExpanded = (line: Line): boolean | undefined => line.isExpanded;

function sortingOf(order: string): Sorting | null {
  const [, column, direction] = /^(.*) (ASC|DESC)$/s.exec(order) ?? [];
  return column === undefined ? null : { column, isDescending: direction === 'DESC' };
}

/** Descending first, then ascending, then newest first again. */
function nextOrder(sorting: Sorting | null, column: string): string {
  if (sorting?.column !== column) {
    return `${column} DESC`;
  }
  return sorting.isDescending ? `${column} ASC` : '';
}

function toggled(ids: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const changed = new Set(ids);
  if (!changed.delete(id)) {
    changed.add(id);
  }
  return changed;
}
