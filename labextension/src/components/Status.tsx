import type { ReactElement } from 'react';

import type { RunStatus } from '../api/records';
import { useTrans } from '../view/host';

const SIGNS: Readonly<Record<RunStatus, string>> = {
  SCHEDULED: '○',
  RUNNING: '●',
  FINISHED: '✓',
  FAILED: '✗',
  KILLED: '■'
};

/** A run's status as a sign and a word; with `isShort`, the word is for screen readers and the pointer. */
export function Status({ status, isShort = false }: { readonly status: RunStatus; readonly isShort?: boolean }): ReactElement {
  const trans = useTrans();
  const words: Readonly<Record<RunStatus, string>> = {
    SCHEDULED: trans.__('scheduled'),
    RUNNING: trans.__('running'),
    FINISHED: trans.__('finished'),
    FAILED: trans.__('failed'),
    KILLED: trans.__('killed')
  };
  const word = words[status];
  return (
    <span className="jp-mlops-status" data-status={status} title={word}>
      <span aria-hidden="true">{SIGNS[status]}</span>
      <span className={isShort ? 'jp-mlops-hidden' : undefined}> {word}</span>
    </span>
  );
}
