import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { answered, type Run } from '../api';
import { Empty, Failure } from '../components';
import { Markdown } from '../components/rendered';
import { useApi, useTrans } from '../view';
import { NOTES_TAG, tag } from './tags';

/** What somebody wrote about the run, Markdown; it can be edited. */
export function Notes({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const notes = tag(run, NOTES_TAG) ?? '';
  const [draft, setDraft] = useState<string | null>(null);
  const save = useMutation({
    mutationFn: (value: string) =>
      answered(
        v1.POST('/runs/{run_id}/log', {
          params: { path: { run_id: run.run_id } },
          body: { batch: { tags: [{ key: NOTES_TAG, value }] } }
        })
      ),
    onSuccess: async () => {
      await cache.invalidateQueries({ queryKey: ['run', run.run_id] });
      setDraft(null);
    }
  });
  if (draft === null) {
    return (
      <>
        {notes === '' ? <Empty>{trans.__('No notes yet.')}</Empty> : <Markdown text={notes} />}
        <button type="button" className="jp-mlops-button" onClick={() => setDraft(notes)}>
          {notes === '' ? trans.__('Write notes') : trans.__('Edit')}
        </button>
      </>
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
        aria-label={trans.__('Notes, in Markdown')}
        rows={8}
        maxLength={8000}
        value={draft}
        onChange={event => setDraft(event.target.value)}
      />
      {save.error !== null && <Failure error={save.error} />}
      <div className="jp-mlops-actions">
        <button type="submit" className="jp-mlops-button" disabled={save.isPending}>
          {trans.__('Save')}
        </button>
        <button type="button" className="jp-mlops-button" onClick={() => setDraft(null)}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}
