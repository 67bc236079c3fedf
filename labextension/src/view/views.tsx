/** Which component shows what. Each view is loaded when it is first shown. */
import { type ComponentType, lazy, type LazyExoticComponent, type ReactElement } from 'react';

import type { ViewAddress, ViewKind } from './address';

type Of<K extends ViewKind> = Extract<ViewAddress, { view: K }>;
type Views = { [K in ViewKind]: LazyExoticComponent<ComponentType<Of<K>>> };

const VIEWS: Views = {
  runs: lazy(async () => ({ default: (await import('../runs')).RunsView })),
  run: lazy(async () => ({ default: (await import('../run')).RunView })),
  compare: lazy(async () => ({ default: (await import('../compare')).CompareView })),
  registry: lazy(async () => ({ default: (await import('../registry')).RegistryView })),
  review: lazy(async () => ({ default: (await import('../review')).ReviewView })),
  tokens: lazy(async () => ({ default: (await import('../access')).TokensView }))
};

export function View({ address }: { readonly address: ViewAddress }): ReactElement {
  const Shown = VIEWS[address.view] as LazyExoticComponent<ComponentType<ViewAddress>>;
  return <Shown {...address} />;
}
