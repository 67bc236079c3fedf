import { Time } from '@jupyterlab/coreutils';
import { type ReactElement, useEffect, useState } from 'react';

const MINUTE = 60_000;

/** How long ago, exact on hover; `at` in milliseconds since the epoch. */
export function RelativeTime({ at }: { readonly at: number }): ReactElement {
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => setTick(tick => tick + 1), MINUTE);
    return () => window.clearInterval(timer);
  }, []);
  const date = new Date(at);
  return (
    <time className="jp-mlops-time" dateTime={date.toISOString()} title={date.toLocaleString()}>
      {Time.formatHuman(date)}
    </time>
  );
}
