import { type ReactElement, useCallback, useMemo } from 'react';

import type { Comparison } from '../api';
import { duration, toNumber } from '../components/figures';
import { columnNumber, spreadOf } from '../components/numbers';
import { type Column, Table } from '../components/table';
import { RunName } from '../runs/RunName';
import { useTrans } from '../view';
import { differs, rowId } from './rows';

type Row = Comparison['rows'][number];

const NAME_WIDTH = 220;
const RUN_WIDTH = 140;
const DIGEST = /\b[0-9a-f]{32,}\b/g;
const SHORT_DIGEST = 12;
const HEIGHT = 46;
const LINE = 28;
const TALLEST = 420;

interface Props {
  readonly comparison: Comparison;
  /** Shows what is the same in all, too. */
  readonly isComplete: boolean;
}

/** The properties of runs, a column a run. */
export function Differences({ comparison, isComplete }: Props): ReactElement {
  const trans = useTrans();
  const rows = useMemo(
    () => comparison.rows.filter(row => isComplete || differs(row)),
    [comparison.rows, isComplete]
  );
  const columns = useMemo((): Column<Row>[] => {
    const groups: Record<Row['group'], string> = {
      params: trans.__('parameter'),
      metrics: trans.__('metric'),
      inputs: trans.__('data'),
      tags: trans.__('tag'),
      run: trans.__('run'),
      packages: trans.__('package')
    };
    return [
      {
        id: 'name',
        title: '',
        width: NAME_WIDTH,
        cell: ({ group, name }) => (
          <span title={`${groups[group]} ${name}`}>
            <span className="jp-mlops-runs-key">{groups[group]}</span> {name}
          </span>
        )
      },
      ...comparison.runs.map(
        (run, index): Column<Row> => ({
          id: run.run_id,
          title: run.name,
          head: <RunName run={run} />,
          width: RUN_WIDTH,
          isNumber: true,
          cell: row => <Value row={row} index={index} />
        })
      )
    ];
  }, [comparison.runs, trans]);
  const isMarked = useCallback((row: Row) => isComplete && differs(row), [isComplete]);
  if (rows.length === 0) {
    return <p>{trans.__('Nothing differs.')}</p>;
  }
  return (
    <div className="jp-mlops-compare-table" style={{ height: Math.min(HEIGHT + LINE * rows.length, TALLEST) }}>
      <Table<Row>
        label={isComplete ? trans.__('All properties') : trans.__('What differs')}
        columns={columns}
        rows={rows}
        rowId={rowId}
        isMarked={isMarked}
      />
    </div>
  );
}

function Value({ row, index }: { readonly row: Row; readonly index: number }): ReactElement {
  const text = row.texts[index];
  if (text == null) {
    return <span className="jp-mlops-runs-key">–</span>;
  }
  return <span title={text}>{shownAs(row, index, text)}</span>;
}

function shownAs(row: Row, index: number, text: string): string {
  const value = row.values[index];
  if (row.group === 'run' && row.name === 'seconds') {
    return duration(1000 * toNumber(value as number));
  }
  if (row.group === 'metrics') {
    const numbers = row.values.flatMap(each => (each == null ? [] : [toNumber(each as number | string)]));
    return columnNumber(toNumber(value as number | string), spreadOf(numbers));
  }
  // A digest says nothing but whether it is the same: its beginning does that, too.
  return text.replace(DIGEST, digest => digest.slice(0, SHORT_DIGEST));
}
