import { type ReactElement, type ReactNode, useState } from 'react';

import type { Run } from '../api';
import { RERUN, RERUN_WITH_EDITS, RETRY } from '../lab/commandIds';
import { useHost } from '../view';
import { codeOf } from './code';
import { Register } from './Register';
import { Reproduce } from './Reproduce';

type Panel = 'register' | 'reproduce' | 'code' | null;

/** What can be done with a run. */
export function Actions({ run }: { readonly run: Run }): ReactElement {
  const { trans, commands, link, toast } = useHost();
  const [panel, setPanel] = useState<Panel>(null);
  const isNotebook = run.kind === 'notebook';
  const isSweep = run.kind === 'sweep';
  const isLacking = isSweep && (run.status === 'FAILED' || run.status === 'KILLED');
  const copy = async (text: string, said: string): Promise<void> => {
    await navigator.clipboard.writeText(text);
    toast(said, 'success');
  };
  const again = (command: string, label: string): ReactNode =>
    commands?.has(command) === true && (
      <button
        type="button"
        className="jp-mlops-button"
        onClick={() => void commands.execute(command, { runId: run.run_id })}
      >
        {label}
      </button>
    );
  const toggle = (which: Exclude<Panel, null>, label: string): ReactElement => (
    <button
      type="button"
      className="jp-mlops-button"
      aria-expanded={panel === which}
      onClick={() => setPanel(panel === which ? null : which)}
    >
      {label}
    </button>
  );
  return (
    <>
      <div className="jp-mlops-actions" role="group" aria-label={trans.__('What to do with it')}>
        {isNotebook && again(RERUN, trans.__('Re-run'))}
        {isLacking && again(RETRY, trans.__('Run what is missing'))}
        {(isNotebook || isSweep) && again(RERUN_WITH_EDITS, trans.__('Re-run with edits…'))}
        {isNotebook && run.status === 'FINISHED' && toggle('reproduce', trans.__('Reproduce'))}
        {toggle('register', trans.__('Register model'))}
        <button
          type="button"
          className="jp-mlops-button"
          onClick={() => void copy(link({ view: 'run', runId: run.run_id }), trans.__('Copied the link'))}
        >
          {trans.__('Copy link')}
        </button>
        {toggle('code', trans.__('Copy as code'))}
      </div>
      {panel === 'register' && <Register run={run} onDone={() => setPanel(null)} />}
      {panel === 'reproduce' && <Reproduce run={run} />}
      {panel === 'code' && <AsCode run={run} copy={copy} />}
    </>
  );
}

interface AsCodeProps {
  readonly run: Run;
  readonly copy: (text: string, said: string) => Promise<void>;
}

function AsCode({ run, copy }: AsCodeProps): ReactElement {
  const { trans } = useHost();
  const { python, magic, cli } = codeOf(run);
  const rows: [string, string][] = [
    [trans.__('Python'), python],
    [trans.__('In a notebook'), magic],
    [trans.__('Command line'), cli]
  ];
  return (
    <dl className="jp-mlops-code">
      {rows.map(([name, text]) => (
        <div key={name}>
          <dt>
            {name}
            <button
              type="button"
              className="jp-mlops-button"
              aria-label={trans.__('Copy: %1', name)}
              onClick={() => void copy(text, trans.__('Copied'))}
            >
              {trans.__('Copy')}
            </button>
          </dt>
          <dd>
            <pre className="jp-mlops-plain">{text}</pre>
          </dd>
        </div>
      ))}
    </dl>
  );
}
