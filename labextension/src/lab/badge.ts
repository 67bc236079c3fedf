/** The number of things that wait for the user, on the sidebar's tab. */
import { QueryObserver } from '@tanstack/react-query';
import type { Widget } from '@lumino/widgets';

import { waitingQuery } from '../api';
import { waitingCount } from '../sidebar';
import type { Surroundings } from '../view';

/** Keep the title of `widget` true; returns what ends it. */
export function showWaiting({ title }: Widget, { api, cache, host }: Surroundings): () => void {
  const { caption } = title;
  return new QueryObserver(cache, waitingQuery(api)).subscribe(({ data }) => {
    const count = waitingCount(data);
    title.dataset = count === 0 ? { ...title.dataset, mlopsWaiting: '' } : { ...title.dataset, mlopsWaiting: `${count}` };
    title.caption = count === 0 ? caption : `${caption} (${host.trans._n('%1 waits for you', '%1 wait for you', count)})`;
  });
}
