import { type ReactElement, useEffect, useState } from 'react';

import { duration } from './figures';

interface Props {
  /** Milliseconds since the epoch. */
  readonly from: number;
  /** While it is absent, it goes on. */
  readonly to?: number | null;
}

/** How long something took, or has taken so far. */
export function Elapsed({ from, to }: Props): ReactElement {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (to != null) {
      return;
    }
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, [to]);
  return <span className="jp-mlops-number">{duration((to ?? now) - from)}</span>;
}
