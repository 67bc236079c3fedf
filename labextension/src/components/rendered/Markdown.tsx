import { lazy, type ReactElement, Suspense } from 'react';

interface Props {
  readonly text: string;
}

const Rendered = lazy(() => import('./Rendered'));

/** Markdown that nobody vouches for. It is shown as it was written until the renderer is there. */
export function Markdown({ text }: Props): ReactElement {
  return (
    <Suspense fallback={<pre className="jp-mlops-plain">{text}</pre>}>
      <Rendered mimeType="text/markdown" content={text} />
    </Suspense>
  );
}
