import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Fragment, type ReactElement, useState } from 'react';

import { answered, type Run } from '../api';
import { Empty, Failure, Loading, RelativeTime } from '../components';
import { MentionField } from '../components/mentions';
import { useApi, useTrans } from '../view';
import { usePeople } from './people';
import { useComments } from './queries';

const MENTION = /(?<![\w@])(@[\w][\w.@+-]*)/g;

/** What people said about the run, the oldest first, and a field to say more. */
export function Comments({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const comments = useComments(run.run_id);
  const [text, setText] = useState('');
  const [isAddressed, setAddressed] = useState(false);
  const people = usePeople(run, comments.data ?? [], isAddressed);
  const say = useMutation({
    mutationFn: () =>
      answered(
        v1.POST('/runs/{run_id}/comments', { params: { path: { run_id: run.run_id } }, body: { text: text.trim() } })
      ),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['run', run.run_id, 'comments'] });
      setText('');
    }
  });
  return (
    <>
      {comments.error !== null && <Failure error={comments.error} onRetry={() => void comments.refetch()} />}
      {comments.isPending && <Loading />}
      {comments.data?.length === 0 && <Empty>{trans.__('No comments yet. @name mentions somebody.')}</Empty>}
      <ol className="jp-mlops-list">
        {comments.data?.map(comment => (
          <li key={comment.comment_id} className="jp-mlops-comment">
            <p className="jp-mlops-comment-by">
              <strong>{comment.user}</strong> <RelativeTime at={comment.created} />
            </p>
            <p className="jp-mlops-comment-text">
              <Mentioning text={comment.text} />
            </p>
          </li>
        ))}
      </ol>
      <form
        className="jp-mlops-form"
        onSubmit={event => {
          event.preventDefault();
          say.mutate();
        }}
      >
        <MentionField
          label={trans.__('Comment')}
          placeholder={trans.__('Comment; @name mentions somebody')}
          names={people}
          value={text}
          onChange={setText}
          onFocus={() => setAddressed(true)}
        />
        {say.error !== null && <Failure error={say.error} />}
        <button type="submit" className="jp-mlops-button" disabled={text.trim() === '' || say.isPending}>
          {trans.__('Comment')}
        </button>
      </form>
    </>
  );
}

/** A text in which mentions of people stand out. */
function Mentioning({ text }: { readonly text: string }): ReactElement {
  return (
    <>
      {text.split(MENTION).map((part, index) =>
        index % 2 === 1 ? (
          <strong key={index} className="jp-mlops-mention">
            {part}
          </strong>
        ) : (
          <Fragment key={index}>{part}</Fragment>
        )
      )}
    </>
  );
}
