import { type ReactElement, useEffect, useState } from 'react';

const SECOND = 1000;

/** `41 s`, `3 min 20 s`, `2 h 5 min`; of what has not ended, it goes on. Times in milliseconds since the epoch. */
export function Duration({ from, to }: { readonly from: number; readonly to?: number | null }): ReactElement {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (to != null) {
      return undefined;
    }
    const timer = window.setInterval(() => setNow(Date.now()), SECOND);
    return () => window.clearInterval(timer);
  }, [to]);
  return <span className="jp-mlops-number">{durationText((to ?? now) - from)}</span>;
}

export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / SECOND));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours > 0) {
    return `${hours} h ${minutes % 60} min`;
  }
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
