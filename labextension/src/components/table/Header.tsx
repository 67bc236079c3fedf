import type { PointerEvent, ReactElement } from 'react';

import { useTrans } from '../../view/host';
import type { Column, Sorting } from './columns';
import type { Placed } from './TableRow';

const NARROWEST = 48;

interface Props<T> {
  readonly id: string;
  readonly columns: readonly Column<T>[];
  readonly placed: readonly Placed<T>[];
  readonly boxWidth: number;
  readonly width: number;
  readonly sorting: Sorting | null;
  readonly activeColumn: number;
  readonly isAll: boolean;
  readonly onAll: () => void;
  readonly onSort: ((column: string) => void) | undefined;
  readonly onResize: ((column: string, width: number) => void) | undefined;
}

/** The names of the columns, under the words of their groups. */
export function Header<T>(props: Props<T>): ReactElement {
  const { id, columns, placed, boxWidth, width, sorting, activeColumn } = props;
  const trans = useTrans();
  const shift = boxWidth > 0 ? 1 : 0;
  const head = (column: Column<T>, index: number, start?: number): ReactElement => {
    const isSorted = sorting?.column === column.id;
    const isFirstOfGroup = column.group !== undefined && column.group !== columns[index - 1]?.group;
    const sort = column.isSortable === true ? () => props.onSort?.(column.id) : undefined;
    return (
      <div
        key={column.id}
        id={`${id}--1-${index + shift}`}
        role="columnheader"
        className={column.isNumber === true ? 'jp-mlops-grid-number' : undefined}
        aria-colindex={index + shift + 1}
        aria-sort={isSorted ? (sorting.isDescending ? 'descending' : 'ascending') : undefined}
        data-active={activeColumn === index + shift || undefined}
        data-sortable={sort !== undefined || undefined}
        title={column.group === undefined ? column.title : `${column.group}: ${column.title}`}
        style={{ left: start, width: column.width }}
        onClick={sort}
      >
        <span className={isFirstOfGroup ? 'jp-mlops-grid-group' : 'jp-mlops-hidden'}>{column.group}</span>
        <span className="jp-mlops-grid-title">
          {column.head ?? column.title}
          {isSorted && <span aria-hidden="true"> {sorting.isDescending ? '▼' : '▲'}</span>}
        </span>
        {props.onResize !== undefined && <Edge column={column} onResize={props.onResize} />}
      </div>
    );
  };
  const [first] = columns;
  return (
    <div role="rowgroup" className="jp-mlops-grid-head" style={{ width }}>
      <div role="row" aria-rowindex={1}>
        <div className="jp-mlops-grid-pinned">
          {boxWidth > 0 && (
            <div
              id={`${id}--1-0`}
              role="columnheader"
              aria-colindex={1}
              data-active={activeColumn === 0 || undefined}
              style={{ width: boxWidth }}
            >
              <input
                type="checkbox"
                tabIndex={-1}
                checked={props.isAll}
                aria-label={trans.__('Select all that are loaded')}
                onChange={props.onAll}
              />
            </div>
          )}
          {first !== undefined && head(first, 0)}
        </div>
        {placed.map(({ column, index, start }) => head(column, index, start))}
      </div>
    </div>
  );
}

/** The edge of a column, by which it is made wider. */
function Edge<T>({ column, onResize }: { column: Column<T>; onResize: (column: string, width: number) => void }): ReactElement {
  const grab = (event: PointerEvent<HTMLSpanElement>): void => {
    const edge = event.currentTarget;
    const from = event.clientX - column.width;
    edge.setPointerCapture(event.pointerId);
    edge.onpointermove = ({ clientX }) => onResize(column.id, Math.max(NARROWEST, Math.round(clientX - from)));
    edge.onpointerup = () => {
      edge.onpointermove = null;
    };
  };
  return (
    <span
      className="jp-mlops-grid-edge"
      aria-hidden="true"
      onPointerDown={grab}
      onClick={event => event.stopPropagation()}
    />
  );
}
