import { useEffect, useRef, useState } from 'react';

/** What a value is, at most every `pause` milliseconds: the first at once, the last in any case. */
export function useSettled<T>(value: T, pause: number): T {
  const [settled, setSettled] = useState(value);
  const at = useRef(0);
  useEffect(() => {
    if (Object.is(value, settled)) {
      return;
    }
    const wait = Math.max(0, at.current + pause - performance.now());
    const timer = window.setTimeout(() => {
      at.current = performance.now();
      setSettled(value);
    }, wait);
    return () => window.clearTimeout(timer);
  }, [value, settled, pause]);
  return settled;
}
