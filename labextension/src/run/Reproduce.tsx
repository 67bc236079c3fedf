import type { ReactElement } from 'react';
import type { Run } from '../api';
import { RelativeTime, Status } from '../components';
import { useHost } from '../view';
import { useReruns } from './queries';

interface Props {
  readonly run: Run;
  readonly command: string;
}

/** Whether the notebook gives the same once more. */
export function Reproduce({ run, command }: Props): ReactElement {
  const { trans, open, toast } = useHost();
  const reruns = useReruns(run.run_id).data ?? [];
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(command);
    toast(trans.__('Copied'), 'success');
  };
  return (
    <section className="jp-mlops-form">
      <p>{trans.__('This command runs the notebook again, compares the metrics, and says what else differs:')}</p>
      <pre className="jp-mlops-plain">{command}</pre>
      <button type="button" className="jp-mlops-button" onClick={() => void copy()}>
        {trans.__('Copy')}
      </button>
      {reruns.length > 0 && (
        <ul className="jp-mlops-list">
          {reruns.map(again => (
            <li key={again.run_id}>
              <Status status={again.status} /> {again.name} <RelativeTime at={again.start_time} />{' '}
              <button
                type="button"
                className="jp-mlops-link"
                onClick={() => open({ view: 'compare', runIds: [run.run_id, again.run_id] })}
              >
                {trans.__('Compare')}
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
