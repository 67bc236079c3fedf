import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { answered, principalQuery, type PromotionEvidence } from '../api';
import { Empty, Failure, RelativeTime } from '../components';
import { MentionField } from '../components/mentions';
import { useApi, useTrans } from '../view';

interface Said {
  readonly user: string;
  readonly at: number;
  readonly text: string;
  /** Of a review; null for a comment. */
  readonly verdict: 'approved' | 'rejected' | 'changes requested' | null;
  /** Whether the request was refreshed since, so that it does not count any more. */
  readonly isOld: boolean;
  readonly mentions: readonly string[];
}

/** What people said about a request, in order, and a field to say more. */
export function Talk({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement {
  const trans = useTrans();
  const said = saidOf(evidence);
  return (
    <section className="jp-mlops-part" aria-label={trans.__('What was said')}>
      <h2>{trans.__('What was said')}</h2>
      {said.length === 0 && <Empty>{trans.__('Nothing yet.')}</Empty>}
      <ol className="jp-mlops-list">
        {said.map((each, index) => (
          <li key={index} className="jp-mlops-comment">
            <One said={each} />
          </li>
        ))}
      </ol>
      <Field evidence={evidence} />
    </section>
  );
}

function One({ said }: { readonly said: Said }): ReactElement {
  const trans = useTrans();
  const words = {
    approved: `✓ ${trans.__('approved')}`,
    rejected: `✗ ${trans.__('rejected')}`,
    'changes requested': `↻ ${trans.__('asks for changes')}`
  };
  return (
    <>
      <p className="jp-mlops-comment-by">
        <strong>{said.user}</strong>{' '}
        {said.verdict !== null && <span className="jp-mlops-badge">{words[said.verdict]}</span>}{' '}
        {said.isOld && <span className="jp-mlops-badge">{trans.__('before it was refreshed')}</span>}{' '}
        <RelativeTime at={said.at} />
      </p>
      {said.text !== '' && (
        <p className="jp-mlops-comment-text">
          <Mentioning text={said.text} users={said.mentions} />
        </p>
      )}
    </>
  );
}

/** Text in which those that the server found mentioned stand out. */
function Mentioning({ text, users }: { readonly text: string; readonly users: readonly string[] }): ReactElement {
  if (users.length === 0) {
    return <>{text}</>;
  }
  const names = users.map(user => user.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).sort((a, b) => b.length - a.length);
  const parts = text.split(new RegExp(`(@(?:${names.join('|')}))`));
  return (
    <>
      {parts.map((part, index) => (index % 2 === 1 ? <strong key={index}>{part}</strong> : part))}
    </>
  );
}

function Field({ evidence }: { readonly evidence: PromotionEvidence }): ReactElement {
  const trans = useTrans();
  const api = useApi();
  const { v1 } = api;
  const me = useQuery(principalQuery(api)).data?.name;
  const cache = useQueryClient();
  const id = useId();
  const [text, setText] = useState('');
  const { request_id } = evidence.promotion;
  const refusal = evidence.refused?.comment;
  const say = useMutation({
    mutationFn: () =>
      answered(v1.POST('/promotions/{request_id}/comments', { params: { path: { request_id } }, body: { text } })),
    onSuccess: async () => {
      setText('');
      await cache.invalidateQueries({ queryKey: ['promotion', request_id] });
    }
  });
  return (
    <form
      className="jp-mlops-form"
      onSubmit={event => {
        event.preventDefault();
        say.mutate();
      }}
    >
      <MentionField
        label={trans.__('Comment')}
        describedBy={refusal === undefined ? undefined : id}
        placeholder={trans.__('comment … (@name mentions somebody)')}
        maxLength={20_000}
        isDisabled={refusal !== undefined}
        names={peopleIn(evidence).filter(name => name !== me)}
        value={text}
        onChange={setText}
      />
      {say.error !== null && <Failure error={say.error} />}
      <div className="jp-mlops-actions">
        <button
          type="submit"
          className="jp-mlops-button"
          disabled={refusal !== undefined || say.isPending || text.trim() === ''}
        >
          {trans.__('Comment')}
        </button>
        {refusal !== undefined && (
          <span id={id} className="jp-mlops-faint">
            {refusal}
          </span>
        )}
      </div>
    </form>
  );
}

/** Who has to do with a request, as far as it says so. */
function peopleIn({ promotion, candidate, champion, consumers = [] }: PromotionEvidence): string[] {
  const { requester, authors = [], reviews = [], comments = [] } = promotion;
  const made = [candidate, champion].flatMap(side => (side == null ? [] : [side.version.user, side.run?.user]));
  return [
    requester,
    ...authors,
    ...reviews.map(({ user }) => user),
    ...comments.flatMap(({ user, mentions = [] }) => [user, ...mentions]),
    ...made.flatMap(name => name ?? []),
    ...consumers.map(({ user }) => user)
  ];
}

function saidOf({ promotion }: PromotionEvidence): Said[] {
  const { reviews = [], comments = [], round: now = 1 } = promotion;
  return [
    ...reviews.map(({ user, at, reason = '', verdict, round = 1 }) => ({
      user,
      at,
      text: reason,
      verdict,
      isOld: round !== now,
      mentions: []
    })),
    ...comments.map(({ user, at, text, mentions = [] }) => ({ user, at, text, verdict: null, isOld: false, mentions }))
  ].sort((a, b) => a.at - b.at);
}
