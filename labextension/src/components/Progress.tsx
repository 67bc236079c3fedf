import type { ReactElement } from 'react';

import type { Progress as Done } from '../api/records';
import { useTrans } from '../view/host';

interface Props {
  readonly progress: Done;
  /** What is counted. */
  readonly unit: 'cells' | 'runs';
}

/** How far a run or a sweep is, as a bar and in words. */
export function Progress({ progress, unit }: Props): ReactElement {
  const trans = useTrans();
  const { done, total, failed = 0 } = progress;
  const words = unit === 'cells' ? trans.__('cell %1/%2', done, total) : trans.__('%1 of %2 runs done', done, total);
  const bad = failed > 0 ? `, ${trans.__('%1 failed', failed)}` : '';
  return (
    <span className="jp-mlops-progress">
      <progress value={done} max={Math.max(total, 1)} aria-label={words + bad} />
      <span aria-hidden="true">{words + bad}</span>
    </span>
  );
}
