import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { type ReactElement, useState } from 'react';
import { describe, expect, it } from 'vitest';

import { FakeServer, show } from '../../test/surroundings';
import { MentionField } from '.';
import { fitting, mentionAt } from './spot';

function Field({ names }: { readonly names: readonly string[] }): ReactElement {
  const [text, setText] = useState('');
  return <MentionField label="Comment" placeholder="" names={names} value={text} onChange={setText} />;
}

function field(): HTMLTextAreaElement {
  return screen.getByRole('textbox', { name: 'Comment' });
}

describe('a mention', () => {
  it.each([
    ['@', 1, { from: 0, to: 1, typed: '' }],
    ['hi @be', 6, { from: 3, to: 6, typed: 'be' }],
    ['hi @bea, look', 5, { from: 3, to: 7, typed: 'b' }],
    ['mail ada@example', 16, null],
    ['@bea ', 5, null],
    ['hi', 2, null]
  ] as const)('is found in %j at %i', (text, cursor, spot) => expect(mentionAt(text, cursor)).toEqual(spot));

  it('is offered the names that begin so first, and none that is complete', () => {
    expect(fitting(['bo', 'Abel', 'bea', 'bo'], 'b')).toEqual(['bea', 'bo', 'Abel']);
    expect(fitting(['bea'], 'bea')).toEqual([]);
  });

  it('is completed by keys, where the cursor is', async () => {
    show(<Field names={['bea', 'ben']} />, new FakeServer({}));
    await userEvent.type(field(), 'ask @be');
    expect(screen.getAllByRole('option').map(option => option.textContent)).toEqual(['bea', 'ben']);
    await userEvent.keyboard('{ArrowDown}');
    const active = field().getAttribute('aria-activedescendant');
    expect(screen.getByRole('option', { selected: true }).id).toBe(active);
    await userEvent.keyboard('{Enter}why');
    expect(field().value).toBe('ask @ben why');
    expect(screen.queryByRole('listbox')).toBeNull();
  });

  it('is completed by a click, and left alone after Escape', async () => {
    show(<Field names={['bea', 'ben']} />, new FakeServer({}));
    await userEvent.type(field(), '@b{Escape}{Enter}');
    expect(field().value).toBe('@b\n');
    await userEvent.type(field(), '@');
    await userEvent.click(screen.getByRole('option', { name: 'bea' }));
    expect(field().value).toBe('@b\n@bea ');
  });
});
