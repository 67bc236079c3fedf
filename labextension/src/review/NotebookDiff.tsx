import { type ReactElement, useState } from 'react';

import type { PromotionEvidence } from '../api';
import { useTrans } from '../view';

/** How the code of the notebooks differs. */
export function NotebookDiff({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement | null {
  const trans = useTrans();
  const [isOpen, setOpen] = useState(false);
  const { notebook_diff: text = '' } = evidence;
  const lines = text.split('\n').filter(line => /^[+-](?![+-]{2})/.test(line)).length;
  if (text === '') {
    return null;
  }
  return (
    <details className="jp-mlops-diff" onToggle={event => setOpen(event.currentTarget.open)}>
      <summary>{trans._n('Notebook: %1 line changed', 'Notebook: %1 lines changed', lines)}</summary>
      {isOpen && <Unified text={text} />}
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
