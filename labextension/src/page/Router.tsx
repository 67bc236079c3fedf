import { type ReactElement, useSyncExternalStore } from 'react';

import { Empty } from '../components';
import { fromPath, useTrans, View } from '../view';

/** Shows what the URL's path, below `base`, stands for; at `base` itself, the models. */
export function Router({ base }: { readonly base: string }): ReactElement {
  const trans = useTrans();
  const path = useSyncExternalStore(listen, () => window.location.pathname + window.location.search);
  const address = fromPath(path.slice(base.length) || 'models');
  return address === null ? <Empty>{trans.__('There is nothing at this URL.')}</Empty> : <View address={address} />;
}

function listen(changed: () => void): () => void {
  window.addEventListener('popstate', changed);
  return () => window.removeEventListener('popstate', changed);
}
