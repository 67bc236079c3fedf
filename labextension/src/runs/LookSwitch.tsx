import type { ReactElement } from 'react';

import { type RunsLook, useTrans } from '../view';

interface Props {
  readonly look: RunsLook;
  readonly onChoose: (look: RunsLook) => void;
}

/** Chart or table. */
export function LookSwitch({ look, onChoose }: Props): ReactElement {
  const trans = useTrans();
  const looks: readonly [RunsLook, string][] = [
    ['table', trans.__('Table')],
    ['chart', trans.__('Chart')]
  ];
  return (
    <span className="jp-mlops-switch" role="group" aria-label={trans.__('Show as')}>
      {looks.map(([each, label]) => (
        <button
          key={each}
          type="button"
          className="jp-mlops-button"
          aria-pressed={each === look}
          onClick={() => onChoose(each)}
        >
          {label}
        </button>
      ))}
    </span>
  );
}
