import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { type ReactElement, useState } from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { FakeServer, show } from '../../test/surroundings';
import type { Column } from './columns';
import { Table, type TableProps } from './Table';

interface Row {
  readonly id: string;
}

function columns(...names: readonly string[]): Column<Row>[] {
  return names.map(name => ({ id: name, title: name, width: 60, isSortable: true, cell: ({ id }) => id }));
}

function table(props: Partial<TableProps<Row>>): ReactElement {
  return <Table<Row> label="Runs" columns={columns('name')} rows={[{ id: 'a' }]} rowId={({ id }) => id} {...props} />;
}

function Changing(props: { readonly first: Column<Row>[]; readonly then: Column<Row>[] }): ReactElement {
  const [shown, setShown] = useState(props.first);
  return (
    <>
      <button type="button" onClick={() => setShown(props.then)}>
        change
      </button>
      {table({ columns: shown })}
    </>
  );
}

function heads(): (string | null)[] {
  return screen.getAllByRole('columnheader').map(head => head.getAttribute('title'));
}

describe('a table', () => {
  // Nothing is laid out here: each element is as large as a view.
  beforeEach(() => {
    vi.spyOn(Element.prototype, 'clientWidth', 'get').mockReturnValue(600);
    vi.spyOn(Element.prototype, 'clientHeight', 'get').mockReturnValue(400);
  });
  afterEach(() => vi.restoreAllMocks());

  it('draws columns that come later, and no longer those that went', async () => {
    show(<Changing first={columns('name', 'status')} then={columns('name', 'lr', 'auc', 'loss')} />, new FakeServer({}));
    expect(heads()).toEqual(['name', 'status']);
    await userEvent.click(screen.getByRole('button', { name: 'change' }));
    expect(heads()).toEqual(['name', 'lr', 'auc', 'loss']);
  });

  it('does not draw what is far from view', () => {
    const names = Array.from({ length: 200 }, (_, place) => `metric ${place}`);
    show(table({ columns: columns('name', ...names) }), new FakeServer({}));
    expect(heads().length).toBeLessThan(20);
    expect(screen.getByRole('grid').getAttribute('aria-colcount')).toBe('201');
  });

  it('sorts by the column whose name is pressed, and says by which it is sorted', async () => {
    const sort = vi.fn();
    const sorting = { column: 'auc', isDescending: true };
    show(table({ columns: columns('name', 'auc'), sorting, onSort: sort }), new FakeServer({}));
    await userEvent.click(screen.getByRole('columnheader', { name: /auc/ }));
    expect(sort).toHaveBeenCalledWith('auc');
    expect(screen.getByRole('status').textContent).toBe('Sorted by auc, descending');
    // Only rows may stand in a grid.
    expect(screen.getByRole('grid').contains(screen.getByRole('status'))).toBe(false);
  });
});
