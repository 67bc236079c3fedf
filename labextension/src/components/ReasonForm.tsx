import { type ReactElement, type ReactNode, useId, useState } from 'react';

import { useTrans } from '../view/host';
import { Failure } from './Failure';

interface Props {
  /** What is about to happen. */
  readonly children?: ReactNode;
  readonly action: string;
  readonly isDangerous?: boolean;
  /** Whether nothing happens without a reason. */
  readonly isNeeded?: boolean;
  readonly isPending: boolean;
  readonly error: unknown;
  readonly onDone: (reason: string) => void;
  readonly onCancel: () => void;
}

/** Asks why before something is done that others are told of. */
export function ReasonForm({
  children,
  action,
  isDangerous = false,
  isNeeded = true,
  isPending,
  error,
  onDone,
  onCancel
}: Props): ReactElement {
  const trans = useTrans();
  const id = useId();
  const [reason, setReason] = useState('');
  const isReady = !isPending && (!isNeeded || reason.trim() !== '');
  return (
    <form
      className="jp-mlops-form jp-mlops-reason-form"
      data-kind={isDangerous ? 'danger' : undefined}
      onSubmit={event => {
        event.preventDefault();
        if (isReady) {
          onDone(reason.trim());
        }
      }}
    >
      {children}
      <label htmlFor={id}>{isNeeded ? trans.__('Why') : trans.__('Why (may be left out)')}</label>
      <textarea
        id={id}
        rows={3}
        autoFocus
        value={reason}
        onChange={event => setReason(event.target.value)}
        aria-describedby={`${id}-kept`}
      />
      <small id={`${id}-kept`}>{trans.__('It is kept in the history.')}</small>
      {error != null && <Failure error={error} />}
      <div className="jp-mlops-actions">
        <button
          type="submit"
          className="jp-mlops-button"
          data-kind={isDangerous ? 'danger' : 'accept'}
          disabled={!isReady}
        >
          {action}
        </button>
        <button type="button" className="jp-mlops-button" onClick={onCancel}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}
