import { type ReactElement, useEffect, useRef, useSyncExternalStore } from 'react';

import { useTrans } from '../view';
import type { Asked, Notices } from './notices';

/** What the page says and asks, over everything else. */
export function ShownNotices({ notices }: { readonly notices: Notices }): ReactElement {
  const trans = useTrans();
  const listen = (changed: () => void): (() => void) => {
    notices.changed.connect(changed);
    return () => void notices.changed.disconnect(changed);
  };
  const shown = useSyncExternalStore(listen, () => notices.shown);
  const asked = useSyncExternalStore(listen, () => notices.asked);
  return (
    <>
      <div className="jp-mlops-notices" role="status">
        {shown.map(({ id, message, kind, options: { details, action } }) => (
          <div key={id} className="jp-mlops-notice" data-kind={kind}>
            {message}
            {action !== undefined && (
              <button type="button" className="jp-mlops-link" onClick={action.run}>
                {action.label}
              </button>
            )}
            {details !== undefined && (
              <details>
                <summary>{trans.__('Details')}</summary>
                <pre className="jp-mlops-plain">{details}</pre>
              </details>
            )}
            <button
              type="button"
              className="jp-mlops-link"
              aria-label={trans.__('Close')}
              onClick={() => notices.remove(id)}
            >
              ×
            </button>
          </div>
        ))}
      </div>
      {asked !== null && <Ask asked={asked} />}
    </>
  );
}

function Ask({ asked }: { readonly asked: Asked }): ReactElement {
  const trans = useTrans();
  const dialog = useRef<HTMLDialogElement>(null);
  const { question, answer } = asked;
  useEffect(() => dialog.current?.showModal(), [asked]);
  return (
    <dialog
      ref={dialog}
      className="jp-mlops-dialog"
      aria-label={question.title}
      onCancel={event => {
        event.preventDefault();
        answer(false);
      }}
    >
      <h2>{question.title}</h2>
      <p>{question.body}</p>
      <div className="jp-mlops-actions">
        <button type="button" className="jp-mlops-button" onClick={() => answer(false)}>
          {trans.__('Cancel')}
        </button>
        <button
          type="button"
          className="jp-mlops-button"
          data-kind={question.isDangerous === true ? 'danger' : 'accept'}
          onClick={() => answer(true)}
        >
          {question.action}
        </button>
      </div>
    </dialog>
  );
}
