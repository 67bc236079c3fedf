import type { ReactElement } from 'react';

import type { Run } from '../api';
import { useHost } from '../view';

/** A run's name, which leads to its page. */
export function RunName({ run: { run_id: runId, name } }: { readonly run: Run }): ReactElement {
  const { link, open } = useHost();
  return (
    <a
      href={link({ view: 'run', runId })}
      tabIndex={-1}
      title={name}
      onClick={event => {
        // A browser's own ways to open a link elsewhere stay.
        if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
          event.preventDefault();
          open({ view: 'run', runId });
        }
      }}
    >
      {name}
    </a>
  );
}
