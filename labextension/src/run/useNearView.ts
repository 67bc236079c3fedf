import { type RefObject, useEffect, useRef, useState } from 'react';

/** Whether an element has come near what is seen; once it has, it stays so. */
export function useNearView<E extends Element>(margin = 400): [RefObject<E>, boolean] {
  const place = useRef<E>(null);
  const [isNear, setNear] = useState(typeof IntersectionObserver === 'undefined');
  useEffect(() => {
    const element = place.current;
    if (element === null || isNear) {
      return;
    }
    const observer = new IntersectionObserver(
      entries => {
        if (entries.some(entry => entry.isIntersecting)) {
          setNear(true);
        }
      },
      { rootMargin: `${margin}px` }
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, [isNear, margin]);
  return [place, isNear];
}
