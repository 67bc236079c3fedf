import { describe, expect, it } from 'vitest';

import { rowsOf } from './csv';

describe('comma-separated values', () => {
  it('may have separators, quotes and line ends in quotes', () => {
    expect(rowsOf('a,b\r\n"1,5","say ""x"""\n"two\nlines",\n', ',', 10)).toEqual([
      ['a', 'b'],
      ['1,5', 'say "x"'],
      ['two\nlines', '']
    ]);
  });

  it('end where they end, without a last line end, or after enough rows', () => {
    expect(rowsOf('a\tb', '\t', 10)).toEqual([['a', 'b']]);
    expect(rowsOf('1\n2\n3\n', ',', 2)).toEqual([['1'], ['2']]);
    expect(rowsOf('', ',', 2)).toEqual([]);
  });
});
