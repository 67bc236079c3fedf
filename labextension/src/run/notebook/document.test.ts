import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { documentOf, withheld } from './document';

const HOSTILE: unknown = JSON.parse(readFileSync('src/test/hostile/executed.ipynb', 'utf8'));

describe('a notebook', () => {
  it('is read from what was recorded', () => {
    const notebook = documentOf(HOSTILE);
    expect(notebook?.language).toBe('python');
    expect(notebook?.cells.map(({ kind }) => kind)).toContain('markdown');
    expect(notebook?.cells.at(-1)?.outputs[0]?.output_type).toBe('error');
  });

  it.each([null, 1, [], {}, { cells: 1 }])('is not read from %j', value => expect(documentOf(value)).toBeNull());

  it('may have parts that are none', () => {
    const notebook = documentOf({ cells: [null, 3, { cell_type: 5, source: [1, 'a'], outputs: [null, { output_type: 'x' }] }] });
    expect(notebook?.cells).toEqual([{ kind: 'raw', source: 'a', count: null, outputs: [] }]);
  });
});

describe('what is withheld of outputs', () => {
  it('is said by its type', () => {
    const types = new Set(documentOf(HOSTILE)?.cells.flatMap(({ outputs }) => outputs.flatMap(withheld)));
    for (const type of [
      'application/javascript',
      'image/svg+xml',
      'application/vnd.vegalite.v5+json',
      'application/vnd.jupyter.widget-view+json',
      'application/vnd.plotly.v1+json',
      'text/html'
    ]) {
      expect(types).toContain(type);
    }
    expect(types).not.toContain('text/plain');
    expect(types).not.toContain('image/png');
  });
});
