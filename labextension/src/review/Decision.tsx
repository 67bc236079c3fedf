import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { answered, type Promotion, type PromotionEvidence } from '../api';
import { Failure, ReasonForm } from '../components';
import { useApi, useDecisionPage, useHost } from '../view';

type Action = 'approve' | 'request_changes' | 'reject' | 'refresh' | 'withdraw';

/** The buttons, each with the server's reason where it cannot be used. */
export function Decision({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement | null {
  const { trans } = useHost();
  const { promotion } = evidence;
  const page = useDecisionPage({ view: 'review', requestId: promotion.request_id });
  if (promotion.state !== 'open') {
    return null;
  }
  return (
    <section className="jp-mlops-decision" aria-label={trans.__('Decision')}>
      {page == null ? (
        <Buttons evidence={evidence} isHere />
      ) : (
        <div className="jp-mlops-actions">
          <a className="jp-mlops-button" data-kind="accept" href={page} target="_blank" rel="noopener noreferrer">
            {trans.__('Decide on the service’s page')}
          </a>
          <span className="jp-mlops-faint">
            {trans.__('Decisions are made there, since code in a notebook can act here as you.')}
          </span>
        </div>
      )}
      {page != null && <Buttons evidence={evidence} isHere={false} />}
    </section>
  );
}

interface ButtonsProps {
  readonly evidence: PromotionEvidence;
  /** Whether what decides for others is done here. */
  readonly isHere: boolean;
}

const DECIDING: readonly Action[] = ['approve', 'request_changes', 'reject'];
/** What is not there at all for whom it is not. */
const ASKING: readonly Action[] = ['refresh', 'withdraw'];

function Buttons({ evidence, isHere }: ButtonsProps): ReactElement {
  const { trans } = useHost();
  const id = useId();
  const [doing, setDoing] = useState<Action | null>(null);
  const labels: Readonly<Record<Action, string>> = {
    approve: trans.__('Approve'),
    request_changes: trans.__('Request changes'),
    reject: trans.__('Reject'),
    refresh: trans.__('Refresh'),
    withdraw: trans.__('Withdraw')
  };
  const { refused = {} } = evidence;
  const shown = [...(isHere ? DECIDING : []), ...ASKING.filter(action => !(action in refused))];
  const reasons = [...new Set(shown.flatMap(action => (action in refused ? [refused[action]] : [])))];
  return (
    <>
      <div className="jp-mlops-actions">
        {shown.map(action => (
          <button
            key={action}
            type="button"
            className="jp-mlops-button"
            data-kind={action === 'approve' ? 'accept' : undefined}
            disabled={action in refused}
            aria-describedby={action in refused ? `${id}-${reasons.indexOf(refused[action])}` : undefined}
            aria-expanded={doing === action}
            onClick={() => setDoing(doing === action ? null : action)}
          >
            {labels[action]}
          </button>
        ))}
        {reasons.map((reason, index) => (
          <span key={reason} id={`${id}-${index}`} className="jp-mlops-refusal">
            {shown.filter(action => refused[action] === reason).length < shown.length &&
              `${shown
                .filter(action => refused[action] === reason)
                .map(action => labels[action])
                .join(', ')}: `}
            {reason}
          </span>
        ))}
      </div>
      {doing !== null && (
        <Doing
          key={doing}
          action={doing}
          label={labels[doing]}
          promotion={evidence.promotion}
          onClose={() => setDoing(null)}
        />
      )}
    </>
  );
}

interface DoingProps {
  readonly action: Action;
  readonly label: string;
  readonly promotion: Promotion;
  readonly onClose: () => void;
}

function Doing({ action, label, promotion, onClose }: DoingProps): ReactElement {
  const { trans, toast } = useHost();
  const decide = useDecide(promotion);
  const { model, alias, version } = promotion;
  const about = {
    approve: trans.__('When nothing else is missing, %1@%2 becomes version %3 at once.', model, alias, String(version)),
    request_changes: trans.__('It is not promoted until it is refreshed, or you approve.'),
    reject: trans.__('It is closed. Somebody has to ask again.'),
    refresh: trans.__('Checks and reviews begin anew, against what the alias points at now.'),
    withdraw: trans.__('It is closed. You can ask again.')
  };
  const onDone = (reason: string): void =>
    decide.mutate(
      { action, reason },
      {
        onSuccess: done => {
          const now = done.state === 'promoted' ? trans.__('%1@%2 is version %3 now.', model, alias, String(version)) : '';
          toast(`${label}: ${now || trans.__('done')}`, 'success');
          onClose();
        }
      }
    );
  if (action === 'refresh') {
    return (
      <div className="jp-mlops-reason-form">
        <p>{about.refresh}</p>
        {decide.error !== null && <Failure error={decide.error} />}
        <div className="jp-mlops-actions">
          <button type="button" className="jp-mlops-button" disabled={decide.isPending} onClick={() => onDone('')}>
            {label}
          </button>
          <button type="button" className="jp-mlops-button" onClick={onClose}>
            {trans.__('Cancel')}
          </button>
        </div>
      </div>
    );
  }
  return (
    <ReasonForm
      action={label}
      isNeeded={action === 'reject' || action === 'request_changes'}
      isDangerous={action === 'reject'}
      isPending={decide.isPending}
      error={decide.error}
      onDone={onDone}
      onCancel={onClose}
    >
      <p>{about[action]}</p>
    </ReasonForm>
  );
}

/** Does it, and shows what became of the request. */
function useDecide({ request_id, round }: Promotion) {
  const { v1 } = useApi();
  const cache = useQueryClient();
  const params = { path: { request_id } };
  return useMutation({
    mutationFn: ({ action, reason }: { action: Action; reason: string }): Promise<Promotion> => {
      switch (action) {
        case 'approve':
          // That of the request which was looked at.
          return answered(v1.POST('/promotions/{request_id}/approve', { params, body: { reason, round: round ?? 1 } }));
        case 'request_changes':
          return answered(v1.POST('/promotions/{request_id}/changes', { params, body: { reason } }));
        case 'reject':
          return answered(v1.POST('/promotions/{request_id}/reject', { params, body: { reason } }));
        case 'refresh':
          return answered(v1.POST('/promotions/{request_id}/refresh', { params }));
        case 'withdraw':
          return answered(v1.POST('/promotions/{request_id}/withdraw', { params, body: { reason } }));
      }
    },
    // Also after a refusal: what was shown may be old.
    onSettled: () => cache.invalidateQueries({ queryKey: ['promotion', request_id] })
  });
}
