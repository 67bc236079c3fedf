import { type ReactElement, type ReactNode, useId } from 'react';

interface Props {
  readonly title: string;
  readonly count?: number;
  /** Buttons beside the title. */
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** A part of a narrow view, under a title as those of JupyterLab's side bars. */
export function Section({ title, count, actions, children }: Props): ReactElement {
  const id = useId();
  return (
    <section className="jp-mlops-section" aria-labelledby={id}>
      <header>
        <h2 id={id}>
          {title}
          {count !== undefined && <span className="jp-mlops-count"> ({count})</span>}
        </h2>
        {actions}
      </header>
      {children}
    </section>
  );
}
