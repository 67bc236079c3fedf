import { type ReactElement, useState } from 'react';

import { answered, type Run } from '../api';
import { Popover } from '../components/Popover';
import { useApi, useHost } from '../view';
import { deleteRuns, type Outcome, restoreRuns } from './actions';
import { TagForm } from './TagForm';

/** Runs that a comparison takes. */
export const MOST_COMPARED = 100;

interface Props {
  readonly runs: readonly Run[];
  readonly isDeleted: boolean;
  readonly tagKeys: readonly string[];
  readonly onClear: () => void;
}

/** What can be done with the runs that are selected. */
export function SelectionBar({ runs, isDeleted, tagKeys, onClear }: Props): ReactElement {
  const api = useApi();
  const { open, toast, trans } = useHost();
  const [isBusy, setBusy] = useState(false);
  const ids = runs.map(run => run.run_id);

  const tell = ({ done, refusal, refused }: Outcome, said: string, undo?: () => Promise<void>): void => {
    if (done.length > 0) {
      const action = undo === undefined ? undefined : { label: trans.__('Undo'), run: () => void undo() };
      toast(said, 'success', { action });
    }
    if (refusal !== null) {
      toast(trans._n('%1 run was left as it is', '%1 runs were left as they are', refused), 'error', { details: refusal });
    }
  };
  const during = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    try {
      await work();
    } finally {
      setBusy(false);
    }
  };
  const remove = async (): Promise<void> => {
    const outcome = await deleteRuns(api, ids);
    tell(outcome, trans._n('Deleted %1 run', 'Deleted %1 runs', outcome.done.length), async () => {
      const back = await restoreRuns(api, outcome.done);
      tell(back, trans._n('Restored %1 run', 'Restored %1 runs', back.done.length));
    });
    onClear();
  };
  const restore = async (): Promise<void> => {
    const outcome = await restoreRuns(api, ids);
    tell(outcome, trans._n('Restored %1 run', 'Restored %1 runs', outcome.done.length));
    onClear();
  };
  const compare = async (): Promise<void> => {
    // A sweep stands for its runs.
    const families = await Promise.all(
      runs.map(async ({ run_id, kind }) => {
        if (kind !== 'sweep') {
          return [run_id];
        }
        const found = await answered(api.v1.GET('/runs/{run_id}/children', { params: { path: { run_id } } }));
        return found.map(child => child.run_id);
      })
    );
    const compared = [...new Set(families.flat())];
    if (compared.length > MOST_COMPARED) {
      toast(trans.__('%1 runs are too many; %2 can be compared at a time', compared.length, MOST_COMPARED), 'warning');
    } else {
      open({ view: 'compare', runIds: compared });
    }
  };
  const isComparable = runs.length > 1 || runs[0]?.kind === 'sweep';
  return (
    <div className="jp-mlops-selection" role="group" aria-label={trans.__('Selected runs')}>
      <span role="status">{trans._n('%1 selected', '%1 selected', runs.length)}</span>
      {isDeleted ? (
        <button type="button" className="jp-mlops-button" disabled={isBusy} onClick={() => void during(restore)}>
          {trans.__('Restore')}
        </button>
      ) : (
        <>
          <button
            type="button"
            className="jp-mlops-button"
            disabled={isBusy || !isComparable}
            title={isComparable ? undefined : trans.__('Select two runs or more')}
            onClick={() => void during(compare)}
          >
            {trans.__('Compare %1', runs.length)}
          </button>
          <Popover label={trans.__('Tag')} isDisabled={isBusy}>
            {close => (
              <TagForm
                runIds={ids}
                known={tagKeys}
                onDone={(outcome, said) => {
                  close();
                  tell(outcome, said);
                }}
              />
            )}
          </Popover>
          <button type="button" className="jp-mlops-button" disabled={isBusy} onClick={() => void during(remove)}>
            {trans.__('Delete')}
          </button>
        </>
      )}
      <button type="button" className="jp-mlops-link" onClick={onClear}>
        {trans.__('Select none')}
      </button>
    </div>
  );
}
