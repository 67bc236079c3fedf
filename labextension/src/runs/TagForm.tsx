import { type FormEvent, type ReactElement, useId, useState } from 'react';

import { useApi, useTrans } from '../view';
import { type Outcome, removeTag, setTag } from './actions';

interface Props {
  readonly runIds: readonly string[];
  /** Keys that are offered. */
  readonly known: readonly string[];
  readonly onDone: (outcome: Outcome, said: string) => void;
}

/** A tag to set on several runs, or to take from them. */
export function TagForm({ runIds, known, onDone }: Props): ReactElement {
  const api = useApi();
  const trans = useTrans();
  const id = useId();
  const [key, setKey] = useState('');
  const [value, setValue] = useState('');
  const [isBusy, setBusy] = useState(false);
  const set = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const outcome = await setTag(api, runIds, key, value);
    onDone(outcome, trans._n('Tagged %1 run', 'Tagged %1 runs', outcome.done.length));
  };
  const remove = async (): Promise<void> => {
    setBusy(true);
    const outcome = await removeTag(api, runIds, key);
    onDone(outcome, trans._n('Took the tag from %1 run', 'Took the tag from %1 runs', outcome.done.length));
  };
  return (
    <form className="jp-mlops-runs-form" onSubmit={event => void set(event)}>
      <label>
        {trans.__('Tag')}
        <input className="jp-mlops-input" list={`${id}-keys`} value={key} onChange={event => setKey(event.target.value)} />
      </label>
      <datalist id={`${id}-keys`}>
        {known.map(each => (
          <option key={each} value={each} />
        ))}
      </datalist>
      <label>
        {trans.__('Value')}
        <input className="jp-mlops-input" value={value} onChange={event => setValue(event.target.value)} />
      </label>
      <div className="jp-mlops-actions">
        <button type="submit" className="jp-mlops-button" disabled={isBusy || key === ''}>
          {trans._n('Set on %1 run', 'Set on %1 runs', runIds.length)}
        </button>
        <button type="button" className="jp-mlops-button" disabled={isBusy || key === ''} onClick={() => void remove()}>
          {trans.__('Remove')}
        </button>
      </div>
    </form>
  );
}
