import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { answered } from '../api';
import { Failure, Loading, RelativeTime } from '../components';
import { Markdown } from '../components/rendered';
import { useApi, useTrans } from '../view';
import { useCard } from './queries';

interface Props {
  readonly name: string;
  readonly version: number;
}

/** What is to be known of a version; who may write to the model can change it. */
export function Card({ name, version }: Props): ReactElement {
  const trans = useTrans();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const card = useCard(name, version);
  const [draft, setDraft] = useState<string | null>(null);
  const save = useMutation({
    mutationFn: (text: string) =>
      answered(v1.POST('/models/{name}/versions/{version}/card', { params: { path: { name, version } }, body: { text } })),
    onSuccess: saved => {
      cache.setQueryData(['model', name, 'card', version], saved);
      setDraft(null);
    }
  });
  if (card.data === undefined) {
    return card.error === null ? <Loading /> : <Failure error={card.error} onRetry={() => void card.refetch()} />;
  }
  const { text, edited_by, edited } = card.data;
  if (draft === null) {
    return (
      <div className="jp-mlops-model-card">
        <Markdown text={text} />
        <div className="jp-mlops-actions">
          <button type="button" className="jp-mlops-button" onClick={() => setDraft(text)}>
            {trans.__('Edit')}
          </button>
          <span className="jp-mlops-faint">
            {edited_by == null || edited == null ? (
              trans.__('Drafted from the record.')
            ) : (
              <>
                {trans.__('Edited by %1', edited_by)} <RelativeTime at={edited} />
              </>
            )}
          </span>
        </div>
      </div>
    );
  }
  return (
    <form
      className="jp-mlops-form"
      onSubmit={event => {
        event.preventDefault();
        save.mutate(draft);
      }}
    >
      <textarea
        aria-label={trans.__('Card of version %1, in Markdown', version)}
        rows={16}
        value={draft}
        onChange={event => setDraft(event.target.value)}
      />
      {save.error !== null && <Failure error={save.error} />}
      <div className="jp-mlops-actions">
        <button type="submit" className="jp-mlops-button" data-kind="accept" disabled={save.isPending}>
          {trans.__('Save')}
        </button>
        <button type="button" className="jp-mlops-button" onClick={() => setDraft(null)}>
          {trans.__('Cancel')}
        </button>
        <button type="button" className="jp-mlops-button" disabled={save.isPending} onClick={() => save.mutate('')}>
          {trans.__('Back to the draft')}
        </button>
      </div>
    </form>
  );
}
