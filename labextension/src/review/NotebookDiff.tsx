import { lazy, type ReactElement, Suspense, useState } from 'react';

import type { PromotionEvidence } from '../api';
import { Loading } from '../components';
import { useTrans } from '../view';

const Rendered = lazy(async () => ({ default: (await import('../components/notebookdiff')).NotebookDiff }));

/** How the code of the notebooks differs, by nbdime; as text where that could not compare them. */
export function NotebookDiff({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement | null {
  const trans = useTrans();
  const [isOpen, setOpen] = useState(false);
  const { notebook_diff: text = '', notebook_changes: changes } = evidence;
  if (changes == null) {
    return null;
  }
  const { base, diff, note = '' } = changes;
  const isShown = base != null && Array.isArray(diff);
  if (text === '' && (!isShown || diff.length === 0)) {
    return <p>{trans.__('Notebook: %1.', note)}</p>;
  }
  const lines = text.split('\n').filter(line => /^[+-](?![+-]{2})/.test(line)).length;
  return (
    <details className="jp-mlops-diff" onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{trans._n('Notebook: %1 line changed', 'Notebook: %1 lines changed', lines)}</summary>
      {isOpen &&
        (isShown ? (
          <Suspense fallback={<Loading />}>
            <Rendered base={base} diff={diff} label={trans.__('How the code differs')} />
          </Suspense>
        ) : (
          <Unified text={text} />
        ))}
    </details>
  );
}

/** A diff in lines, signs before them. */
function Unified({ text }: { readonly text: string }): ReactElement {
  return (
    <pre className="jp-mlops-plain jp-mlops-unified">
      {text.split('\n').map((line, index) => (
        <span key={index} data-sign={/^[+-]/.exec(line)?.[0]}>
          {line}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}
