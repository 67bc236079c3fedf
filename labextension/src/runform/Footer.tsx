/** Says what will happen, and lets it happen. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement } from 'react';

import { type Plan, reason } from '../api';
import { useTrans } from '../view';

interface Props {
  readonly plan: Plan | undefined;
  /** What is wrong and has no field. */
  readonly problems: readonly string[];
  readonly isSweep: boolean;
  readonly error: Error | null;
  readonly isStarting: boolean;
  readonly onCancel: () => void;
}

export function Footer({ plan, problems, isSweep, error, isStarting, onCancel }: Props): ReactElement {
  const trans = useTrans();
  const wrong = error === null ? problems : [...problems, reason(error)];
  return (
    <footer className="jp-mlops-runform-footer">
      <p role="status">{plan === undefined ? '' : told(plan, trans)}</p>
      {wrong.length > 0 && (
        <p className="jp-mlops-problem" role="alert">
          {wrong.join(' ')}
        </p>
      )}
      <div className="jp-mlops-buttons">
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={onCancel}>
          {trans.__('Cancel')}
        </button>
        <button type="submit" className="jp-mod-styled jp-mod-accept" disabled={isStarting}>
          {isSweep ? trans.__('Start the sweep') : trans.__('Run')}
        </button>
      </div>
    </footer>
  );
}

/** Such as "24 runs, 2 at a time; they end if this server is stopped." */
export function told({ runs, at_once, ends_with_server }: Plan, trans: TranslationBundle): string {
  if (runs === null) {
    return trans.__('How many runs this makes cannot be told yet.');
  }
  const number = trans._n('%1 run', '%1 runs', runs);
  const many = runs > 1 ? trans.__('%1, %2 at a time', number, at_once) : number;
  if (!ends_with_server) {
    return `${many}.`;
  }
  const end = trans._n('it ends if this server is stopped', 'they end if this server is stopped', runs);
  return `${many}; ${end}.`;
}
