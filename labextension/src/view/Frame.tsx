/** What is around every tree of components: the host, the API, the cache, and what is shown when one of them fails. */
import { type QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Component, type ReactElement, type ReactNode, Suspense } from 'react';

import { type Api, ApiContext, type Events, EventsContext } from '../api';
import { Failure } from '../components/Failure';
import { Loading } from '../components/Loading';
import { type Host, HostContext } from './host';

export interface Surroundings {
  readonly host: Host;
  readonly api: Api;
  readonly cache: QueryClient;
  readonly events: Events;
}

export function Frame({ host, api, cache, events, children }: Surroundings & { readonly children: ReactNode }): ReactElement {
  return (
    <QueryClientProvider client={cache}>
      <HostContext.Provider value={host}>
        <ApiContext.Provider value={api}>
          <EventsContext.Provider value={events}>
            <Boundary>
              <Suspense fallback={<Loading />}>{children}</Suspense>
            </Boundary>
          </EventsContext.Provider>
        </ApiContext.Provider>
      </HostContext.Provider>
    </QueryClientProvider>
  );
}

/** A mistake in one view is told there, and leaves the others alone. */
class Boundary extends Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
  override state: { readonly error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    return error === null ? (
      this.props.children
    ) : (
      <Failure error={error} onRetry={() => this.setState({ error: null })} />
    );
  }
}
