import { memo, type MouseEvent, type ReactElement } from 'react';

import { useTrans } from '../../view/host';
import type { Column, Place } from './columns';

/** A column that is drawn, and where. */
export interface Placed<T> {
  readonly column: Column<T>;
  /** Among all columns. */
  readonly index: number;
  /** Pixels from the left. */
  readonly start: number;
}

interface Props<T> {
  readonly id: string;
  /** Undefined while it is on its way. */
  readonly row: T | undefined;
  readonly index: number;
  readonly top: number;
  readonly pinned: Column<T> | undefined;
  readonly placed: readonly Placed<T>[];
  /** 0 where rows cannot be selected. */
  readonly boxWidth: number;
  readonly isSelected: boolean | undefined;
  readonly level: number;
  readonly isExpanded: boolean | undefined;
  readonly isMarked: boolean;
  readonly isTree: boolean;
  readonly activeColumn: number;
  readonly onPoint: (place: Place) => void;
  readonly onSelect: (index: number, isRange: boolean) => void;
  readonly onOpen: ((row: T) => void) | undefined;
  readonly onExpand: ((row: T) => void) | undefined;
}

function Row<T>(props: Props<T>): ReactElement {
  const { id, row, index, top, pinned, placed, boxWidth, isSelected, level, isExpanded, isTree, activeColumn } = props;
  const trans = useTrans();
  const shift = boxWidth > 0 ? 1 : 0;
  const cell = (column: number): { id: string; 'aria-colindex': number; 'data-active': boolean | undefined } => ({
    id: `${id}-${index}-${column}`,
    'aria-colindex': column + 1,
    'data-active': activeColumn === column || undefined
  });
  const point = (event: MouseEvent): void => {
    const shown = (event.target as Element).closest('[aria-colindex]');
    props.onPoint({ row: index, column: Number(shown?.getAttribute('aria-colindex') ?? 1) - 1 });
  };
  const open = (): void => {
    if (row !== undefined) {
      props.onOpen?.(row);
    }
  };
  return (
    <div
      className="jp-mlops-grid-row"
      role="row"
      aria-rowindex={index + 2}
      aria-selected={isSelected}
      aria-level={isTree ? level + 1 : undefined}
      aria-expanded={isExpanded}
      aria-busy={row === undefined}
      data-marked={props.isMarked || undefined}
      style={{ top }}
      onClick={point}
      onDoubleClick={open}
    >
      <div className="jp-mlops-grid-pinned">
        {boxWidth > 0 && (
          <div role="gridcell" {...cell(0)} style={{ width: boxWidth }}>
            <input
              type="checkbox"
              tabIndex={-1}
              checked={isSelected === true}
              disabled={row === undefined}
              aria-label={trans.__('Select')}
              onChange={event => props.onSelect(index, (event.nativeEvent as globalThis.MouseEvent).shiftKey)}
            />
          </div>
        )}
        <div role="rowheader" {...cell(shift)} style={{ width: pinned?.width, paddingInlineStart: 6 + 18 * level }}>
          {row !== undefined && isExpanded !== undefined && (
            <button
              type="button"
              className="jp-mlops-grid-twist"
              tabIndex={-1}
              aria-label={isExpanded ? trans.__('Fold') : trans.__('Unfold')}
              onClick={() => props.onExpand?.(row)}
            >
              {isExpanded ? '▾' : '▸'}
            </button>
          )}
          {row === undefined ? <span className="jp-mlops-grid-awaited" /> : pinned?.cell(row)}
        </div>
      </div>
      {placed.map(({ column, index: place, start }) => (
        <div
          key={column.id}
          role="gridcell"
          {...cell(place + shift)}
          className={column.isNumber === true ? 'jp-mlops-grid-number' : undefined}
          style={{ left: start, width: column.width }}
        >
          {row !== undefined && column.cell(row)}
        </div>
      ))}
    </div>
  );
}

/** One line of a table; drawn anew only when something of it changes. */
export const TableRow = memo(Row) as typeof Row;
