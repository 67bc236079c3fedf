/** A grid of any number of rows and columns, of which only what is seen is drawn. */
import { useVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, type ReactElement, useCallback, useEffect, useId, useMemo, useRef, useState } from 'react';

import { useTrans } from '../../view/host';
import type { Column, Place, Sorting } from './columns';
import { Header } from './Header';
import { moved } from './keyboard';
import { type Placed, TableRow } from './TableRow';

const ROW_HEIGHT = 28;
const HEADER_HEIGHT = 44;
const BOX_WIDTH = 32;
const AHEAD = 12;
const NOTHING: ReadonlySet<string> = new Set();

export interface TableProps<T> {
  /** What it is a table of, for screen readers. */
  readonly label: string;
  /** The first stays in view. */
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly rowId: (row: T) => string;
  /** How many rows there are when all have come; as many as `rows` by default. */
  readonly total?: number;
  /** Whether there may be more rows than are counted. */
  readonly isOpenEnded?: boolean;
  /** What is shown is about to be replaced. */
  readonly isBusy?: boolean;
  readonly sorting?: Sorting | null;
  readonly onSort?: (column: string) => void;
  readonly onResize?: (column: string, width: number) => void;
  readonly selected?: ReadonlySet<string>;
  /** Rows can be selected when this is given. */
  readonly onSelect?: (ids: ReadonlySet<string>) => void;
  readonly onOpen?: (row: T) => void;
  /** Rows to set apart. */
  readonly isMarked?: (row: T) => boolean;
  /** 0 for a row that belongs to no other. */
  readonly level?: (row: T) => number;
  /** Whether the rows that belong to it are shown; undefined for a row that has none. */
  readonly isExpanded?: (row: T) => boolean | undefined;
  readonly onExpand?: (row: T) => void;
  /** The rows from `first` to `last` are seen, or will be soon. */
  readonly onReach?: (first: number, last: number) => void;
}

export function Table<T>(props: TableProps<T>): ReactElement {
  const { label, columns, rows, rowId, sorting = null, selected = NOTHING, isExpanded, onReach } = props;
  const { onSort, onSelect, onOpen, onExpand } = props;
  const trans = useTrans();
  const id = useId();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<Place>({ row: 0, column: onSelect === undefined ? 0 : 1 });
  const anchor = useRef(0);

  const total = Math.max(props.total ?? 0, rows.length);
  const boxWidth = onSelect === undefined ? 0 : BOX_WIDTH;
  const pinnedWidth = boxWidth + (columns[0]?.width ?? 0);
  const lines = useVirtualizer({
    count: total,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: AHEAD,
    scrollMargin: HEADER_HEIGHT,
    scrollPaddingStart: HEADER_HEIGHT
  });
  const stripes = useVirtualizer({
    horizontal: true,
    count: Math.max(columns.length - 1, 0),
    getScrollElement: () => scroller.current,
    estimateSize: index => columns[index + 1]?.width ?? 0,
    getItemKey: index => columns[index + 1]?.id ?? index,
    overscan: 3,
    paddingStart: pinnedWidth,
    scrollPaddingStart: pinnedWidth
  });
  useEffect(() => stripes.measure(), [stripes, columns]);
  const width = stripes.getTotalSize();

  const seenRows = lines.getVirtualItems();
  const seenColumns = stripes.getVirtualItems();
  const firstColumn = seenColumns[0]?.index ?? 0;
  const columnCount = seenColumns.length;
  const placed = useMemo(() => {
    const found: Placed<T>[] = [];
    let start = pinnedWidth;
    columns.slice(1).forEach((column, index) => {
      if (index >= firstColumn && index < firstColumn + columnCount) {
        found.push({ column, index: index + 1, start });
      }
      start += column.width;
    });
    return found;
  }, [columns, firstColumn, columnCount, pinnedWidth]);
  const firstRow = seenRows[0]?.index ?? 0;
  const lastRow = seenRows.at(-1)?.index ?? 0;
  useEffect(() => onReach?.(firstRow, lastRow), [onReach, firstRow, lastRow, rows.length]);

  const cellCount = columns.length + (boxWidth > 0 ? 1 : 0);
  const goTo = (place: Place): void => {
    setActive(place);
    if (place.row >= 0) {
      lines.scrollToIndex(place.row);
    }
    const column = place.column - (boxWidth > 0 ? 1 : 0);
    if (column > 0) {
      stripes.scrollToIndex(column - 1);
    }
  };

  const select = useCallback(
    (index: number, isRange: boolean) => {
      if (onSelect === undefined) {
        return;
      }
      const chosen = new Set(selected);
      const row = rows[index];
      if (row === undefined) {
        return;
      }
      const isAdded = !chosen.has(rowId(row));
      const from = isRange ? Math.min(anchor.current, index) : index;
      const to = isRange ? Math.max(anchor.current, index) : index;
      for (const each of rows.slice(from, to + 1)) {
        if (isRange || isAdded) {
          chosen.add(rowId(each));
        } else {
          chosen.delete(rowId(each));
        }
      }
      anchor.current = index;
      onSelect(chosen);
    },
    [onSelect, selected, rows, rowId]
  );
  const point = useCallback((place: Place) => setActive(place), []);

  const press = (event: KeyboardEvent): void => {
    if (event.target !== event.currentTarget) {
      return;
    }
    const row = rows[active.row];
    const column = columns[active.column - (boxWidth > 0 ? 1 : 0)];
    const page = Math.max(Math.floor((scroller.current?.clientHeight ?? 0) / ROW_HEIGHT) - 2, 1);
    if (row !== undefined && isExpanded !== undefined && column === columns[0]) {
      const isOpen = isExpanded(row);
      if ((event.key === 'ArrowRight' && isOpen === false) || (event.key === 'ArrowLeft' && isOpen === true)) {
        event.preventDefault();
        onExpand?.(row);
        return;
      }
    }
    const place = moved(active, event, { rows: rows.length, columns: cellCount, page });
    if (place !== null) {
      if (event.shiftKey && place.row !== active.row && place.row >= 0) {
        if (!selected.has(row === undefined ? '' : rowId(row))) {
          anchor.current = Math.max(active.row, 0);
        }
        select(place.row, true);
      }
      goTo(place);
    } else if (event.key === ' ' && row !== undefined) {
      select(active.row, event.shiftKey);
    } else if (event.key === 'Enter' && active.row === -1 && column?.isSortable === true) {
      onSort?.(column.id);
    } else if (event.key === 'Enter' && row !== undefined) {
      onOpen?.(row);
    } else {
      return;
    }
    event.preventDefault();
  };

  const isAll = rows.length > 0 && rows.every(row => selected.has(rowId(row)));
  const chooseAll = (): void => onSelect?.(isAll ? new Set() : new Set(rows.map(rowId)));
  const isActiveShown = active.row === -1 || (active.row >= firstRow && active.row <= lastRow);
  const sorted = columns.find(column => column.id === sorting?.column);
  return (
    <>
      <div
        ref={scroller}
        className="jp-mlops-grid"
        role={isExpanded === undefined ? 'grid' : 'treegrid'}
        aria-label={label}
        aria-rowcount={props.isOpenEnded === true ? -1 : total + 1}
        aria-colcount={cellCount}
        aria-busy={props.isBusy}
        aria-multiselectable={onSelect !== undefined}
        aria-activedescendant={isActiveShown && rows.length > 0 ? `${id}-${active.row}-${active.column}` : undefined}
        tabIndex={0}
        onKeyDown={press}
      >
        <Header
          id={id}
          columns={columns}
          placed={placed}
          boxWidth={boxWidth}
          width={width}
          sorting={sorting}
          activeColumn={active.row === -1 ? active.column : -1}
          isAll={isAll}
          onAll={chooseAll}
          onSort={onSort}
          onResize={props.onResize}
        />
        <div role="rowgroup" style={{ height: lines.getTotalSize(), width }}>
          {seenRows.map(({ index, start }) => {
            const row = rows[index];
            const key = row === undefined ? index : rowId(row);
            return (
              <TableRow
                key={key}
                id={id}
                row={row}
                index={index}
                top={start}
                pinned={columns[0]}
                placed={placed}
                boxWidth={boxWidth}
                isSelected={onSelect === undefined ? undefined : row !== undefined && selected.has(rowId(row))}
                level={row === undefined ? 0 : (props.level?.(row) ?? 0)}
                isExpanded={row === undefined ? undefined : isExpanded?.(row)}
                isMarked={row !== undefined && props.isMarked?.(row) === true}
                isTree={isExpanded !== undefined}
                activeColumn={active.row === index ? active.column : -1}
                onPoint={point}
                onSelect={select}
                onOpen={onOpen}
                onExpand={onExpand}
              />
            );
          })}
        </div>
      </div>
      <span className="jp-mlops-hidden" role="status">
        {sorted !== undefined &&
          (sorting?.isDescending === true
            ? trans.__('Sorted by %1, descending', sorted.title)
            : trans.__('Sorted by %1, ascending', sorted.title))}
      </span>
    </>
  );
}
