import { type ReactElement, useEffect, useRef } from 'react';

import type { Artifact, Run } from '../../api';
import { duration } from '../../components/figures';
import { Markdown } from '../../components/rendered';
import { useHost } from '../../view';
import { useNearView } from '../useNearView';
import type { Cell, Document } from './document';
import { withheld } from './document';
import { OPEN_COPY } from '../commands';
import { Outputs } from './Outputs';
import { Source } from './Source';

interface Props {
  readonly run: Run;
  readonly file: Artifact;
  readonly notebook: Document;
  /** How long cells took, by their place. */
  readonly seconds: ReadonlyMap<number, number>;
  readonly failed: number | null;
}

/** The cells of a notebook that is not trusted. */
export function Cells({ run, file, notebook, seconds, failed }: Props): ReactElement {
  const { trans, commands } = useHost();
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (failed !== null) {
      place.current?.querySelector(`[data-cell="${failed}"]`)?.scrollIntoView({ block: 'center' });
    }
  }, [failed]);
  const isWithheld = notebook.cells.some(cell => cell.outputs.some(output => withheld(output).length > 0));
  return (
    <div ref={place} className="jp-mlops-notebook">
      {(isWithheld || commands?.has(OPEN_COPY) === true) && (
        <div className="jp-mlops-actions">
          {isWithheld && <span>{trans.__('Outputs that run scripts are not shown here.')}</span>}
          {commands?.has(OPEN_COPY) === true && (
            <button
              type="button"
              className="jp-mlops-button"
              onClick={() => void commands.execute(OPEN_COPY, { runId: run.run_id, path: file.path })}
            >
              {isWithheld ? trans.__('Open a copy to trust it') : trans.__('Open a copy')}
            </button>
          )}
        </div>
      )}
      {notebook.cells.map((cell, index) => (
        <CellView
          key={index}
          cell={cell}
          index={index}
          language={notebook.language}
          seconds={seconds.get(index)}
          isFailed={index === failed}
        />
      ))}
    </div>
  );
}

interface CellProps {
  readonly cell: Cell;
  readonly index: number;
  readonly language: string;
  readonly seconds: number | undefined;
  readonly isFailed: boolean;
}

function CellView({ cell, index, language, seconds, isFailed }: CellProps): ReactElement {
  const { trans } = useHost();
  const [place, isNear] = useNearView<HTMLElement>(1500);
  const took = cell.kind === 'code' && seconds !== undefined && seconds > 0 ? duration(seconds * 1000) : '';
  return (
    <section
      ref={place}
      className="jp-mlops-cell"
      data-cell={index}
      data-failed={isFailed || undefined}
      aria-label={isFailed ? trans.__('Cell %1, which failed', index + 1) : trans.__('Cell %1', index + 1)}
    >
      <div className="jp-mlops-cell-margin">
        {cell.kind === 'code' && <span>[{cell.count ?? ' '}]</span>}
        {took !== '' && <span title={trans.__('How long it took')}>{took}</span>}
      </div>
      <div className="jp-mlops-cell-body">
        {cell.kind === 'markdown' ? (
          isNear ? (
            <Markdown text={cell.source} />
          ) : (
            <pre className="jp-mlops-plain">{cell.source}</pre>
          )
        ) : (
          <Source text={cell.source} language={cell.kind === 'code' && isNear ? language : null} />
        )}
        {cell.outputs.length > 0 && (isNear ? <Outputs outputs={cell.outputs} /> : <div className="jp-mlops-later" />)}
      </div>
    </section>
  );
}
