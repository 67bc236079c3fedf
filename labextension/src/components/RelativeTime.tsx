import { Time } from '@jupyterlab/coreutils';
import { type ReactElement, useEffect, useState } from 'react';

const MINUTE = 60_000;

interface Props {
  /** In milliseconds since the epoch. */
  readonly at: number;
  /** `2m` instead of `2 minutes ago`. */
  readonly isShort?: boolean;
}

/** How long ago, exact on hover. */
export function RelativeTime({ at, isShort = false }: Props): ReactElement {
  const [, setTick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => setTick(tick => tick + 1), MINUTE);
    return () => window.clearInterval(timer);
  }, []);
  const date = new Date(at);
  return (
    <time className="jp-mlops-time" dateTime={date.toISOString()} title={date.toLocaleString()}>
      {Time.formatHuman(date, isShort ? 'narrow' : 'long')}
    </time>
  );
}
