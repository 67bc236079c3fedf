import { describe, expect, it } from 'vitest';

import type { Run } from '../api';
import { renewed } from './pages';

function run(id: string, start: number): Run {
  return { run_id: id, experiment_id: 'e', name: id, kind: 'session', user: 'ada', status: 'RUNNING', created: start, start_time: start };
}

const PAGES = [
  { items: [run('d', 40), run('c', 30)], next_page_token: 'more' },
  { items: [run('b', 20)], next_page_token: 'more' }
];
const ids = (pages: readonly { items: readonly Run[] }[]): string[][] => pages.map(page => page.items.map(each => each.run_id));
const named = (...names: string[]): ReadonlySet<string> => new Set(names);

describe('after something happened', () => {
  it('a run is as it stands, in its place', () => {
    const now = { ...run('c', 30), status: 'FINISHED' as const };
    const { pages } = renewed(PAGES, { changed: named('c'), created: named(), now: [now] }, true);
    expect(ids(pages)).toEqual([['d', 'c'], ['b']]);
    expect(pages[0]?.items[1]).toBe(now);
    expect(pages[1]).toBe(PAGES[1]);
  });

  it('a run that belongs there no more is gone', () => {
    expect(ids(renewed(PAGES, { changed: named('d'), created: named(), now: [] }, true).pages)).toEqual([['c'], ['b']]);
  });

  it('a new run is put among the newest', () => {
    const change = { changed: named('e', 'x'), created: named('e', 'x'), now: [run('e', 50), run('x', 25)] };
    const { pages, unplaced } = renewed(PAGES, change, true);
    expect(ids(pages)).toEqual([['e', 'd', 'c'], ['x', 'b']]);
    expect(unplaced).toEqual([]);
  });

  it('an old run of a page that has not come is left for that page', () => {
    const change = { changed: named('a'), created: named(), now: [run('a', 10)] };
    expect(ids(renewed(PAGES, change, true).pages)).toEqual([['d', 'c'], ['b']]);
  });

  it('a new run is only counted where its place is not known', () => {
    const change = { changed: named('e', 'a'), created: named('e'), now: [run('e', 50), run('a', 10)] };
    const { pages, unplaced } = renewed(PAGES, change, false);
    expect(ids(pages)).toEqual([['d', 'c'], ['b']]);
    expect(unplaced).toEqual(['e']);
  });
});
