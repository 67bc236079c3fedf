import { type ReactElement, type ReactNode, useCallback, useMemo, useState } from 'react';

import type { Run } from '../api';
import { type Sorting, Table } from '../components/table';
import { NO_CHOICE } from '../runs/choice';
import { columnsOf } from '../runs/columns';
import { gatheredFrom } from '../runs/fields';
import { type Line, linesOf } from '../runs/lines';
import { RunName } from '../runs/RunName';
import { useHost } from '../view';
import { compared } from './sorted';

const NOBODY: ReadonlySet<string> = new Set();

/** The runs that are left by what was drawn on the charts, one a row. */
export function Compared({ runs, total }: { readonly runs: readonly Run[]; readonly total: number }): ReactElement {
  const { open, trans } = useHost();
  const [sorting, setSorting] = useState<Sorting | null>(null);
  const name = useCallback((run: Run): ReactNode => <RunName run={run} />, []);
  const gathered = useMemo(() => gatheredFrom([runs]), [runs]);
  const columns = useMemo(() => columnsOf(gathered, NO_CHOICE, trans, name), [gathered, trans, name]);
  const lines = useMemo(() => {
    const found = linesOf(runs, null, NOBODY);
    return sorting === null ? found : [...found].sort(compared(sorting));
  }, [runs, sorting]);
  const sort = useCallback(
    (column: string) =>
      setSorting(now => ({ column, isDescending: now?.column === column ? !now.isDescending : true })),
    []
  );
  const openLine = useCallback(({ run }: Line) => open({ view: 'run', runId: run.run_id }), [open]);
  return (
    <section className="jp-mlops-compare-runs">
      <h2 role="status">
        {runs.length < total
          ? trans.__('%1 of %2 runs are in what was drawn', runs.length, total)
          : trans.__('The runs')}
      </h2>
      <div className="jp-mlops-compare-table" style={{ height: Math.min(46 + 28 * Math.max(total, 1) + 12, 420) }}>
        <Table<Line>
          label={trans.__('Compared runs')}
          columns={columns}
          rows={lines}
          rowId={lineId}
          sorting={sorting}
          onSort={sort}
          onOpen={openLine}
        />
      </div>
    </section>
  );
}

const lineId = (line: Line): string => line.run.run_id;
