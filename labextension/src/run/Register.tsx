import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { answered, type Run } from '../api';
import { Empty, Failure, Loading } from '../components';
import { useApi, useHost } from '../view';
import { useFiles } from './queries';

const MODEL_FILE = 'MLmodel';

interface Props {
  readonly run: Run;
  readonly onDone: () => void;
}

/** Makes a version of a registered model from one that the run logged. */
export function Register({ run, onDone }: Props): ReactElement {
  const { trans, open, toast } = useHost();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const id = useId();
  const files = useFiles(run.run_id);
  const folders = (files.data ?? [])
    .filter(({ path }) => path.endsWith(`/${MODEL_FILE}`))
    .map(({ path }) => path.slice(0, -MODEL_FILE.length - 1));
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState<string | null>(null);
  const [description, setDescription] = useState('');
  const path = chosen ?? folders[0] ?? '';
  const register = useMutation({
    mutationFn: () =>
      answered(
        v1.POST('/models/{name}/versions', {
          params: { path: { name } },
          body: { run_id: run.run_id, path, description }
        })
      ),
    onSuccess: ({ model, version }) => {
      void cache.invalidateQueries({ queryKey: ['models'] });
      const action = { label: trans.__('Show'), run: () => open({ view: 'registry', model }) };
      toast(trans.__('Registered %1 v%2', model, version), 'success', { action });
      onDone();
    }
  });
  if (files.data === undefined) {
    return files.error === null ? <Loading /> : <Failure error={files.error} onRetry={() => void files.refetch()} />;
  }
  if (folders.length === 0) {
    return (
      <Empty>{trans.__('This run has logged no model. In a notebook: mlops.log_model(model, name="model").')}</Empty>
    );
  }
  return (
    <form
      className="jp-mlops-form"
      onSubmit={event => {
        event.preventDefault();
        register.mutate();
      }}
    >
      <label htmlFor={`${id}-name`}>{trans.__('Name of the registered model')}</label>
      <input id={`${id}-name`} required value={name} onChange={event => setName(event.target.value)} />
      {folders.length > 1 && (
        <>
          <label htmlFor={`${id}-path`}>{trans.__('Model')}</label>
          <select id={`${id}-path`} value={path} onChange={event => setChosen(event.target.value)}>
            {folders.map(folder => (
              <option key={folder}>{folder}</option>
            ))}
          </select>
        </>
      )}
      <label htmlFor={`${id}-description`}>{trans.__('Description')}</label>
      <textarea id={`${id}-description`} value={description} onChange={event => setDescription(event.target.value)} />
      {register.error !== null && <Failure error={register.error} />}
      <button type="submit" className="jp-mlops-button" disabled={register.isPending}>
        {trans.__('Register')}
      </button>
    </form>
  );
}
