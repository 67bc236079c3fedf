import type { ReactElement, ReactNode } from 'react';

/** Says of an empty list what to do first. */
export function Empty({ children }: { readonly children: ReactNode }): ReactElement {
  return <p className="jp-mlops-empty">{children}</p>;
}
