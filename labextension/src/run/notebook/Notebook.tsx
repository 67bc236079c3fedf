import { type ReactElement, useState } from 'react';

import type { Artifact, Run } from '../../api';
import { Empty, Failure, Loading } from '../../components';
import { size } from '../../components/figures';
import { useTrans } from '../../view';
import { parsed, useText } from '../files';
import { useFiles } from '../queries';
import { Cells } from './Cells';
import { documentOf } from './document';

const EXECUTED = 'notebook/executed.ipynb';
const SOURCE = 'notebook/source.ipynb';
const TIMES = 'notebook/cells.json';
/** Notebooks above this many bytes are shown when they are asked for. */
const LARGE = 20_000_000;

/** The notebook as it was executed; before that, as it was when the run began. */
export function NotebookTab({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const files = useFiles(run.run_id);
  if (files.data === undefined) {
    return files.error === null ? <Loading /> : <Failure error={files.error} onRetry={() => void files.refetch()} />;
  }
  const of = (path: string): Artifact | undefined => files.data.find(each => each.path === path);
  const notebook = of(EXECUTED) ?? of(SOURCE);
  if (notebook === undefined) {
    return <Empty>{trans.__('This run has no notebook: it is a %1 run.', run.kind)}</Empty>;
  }
  return (
    <>
      {notebook.path === SOURCE && <Empty>{trans.__('As it was when the run began; nothing is executed yet.')}</Empty>}
      <NotebookFile run={run} file={notebook} times={of(TIMES)} failed={run.reason?.cell ?? null} />
    </>
  );
}

interface Props {
  readonly run: Run;
  readonly file: Artifact;
  /** How long its cells took. */
  readonly times?: Artifact | undefined;
  /** The cell that failed, counted from 0. */
  readonly failed?: number | null;
}

/** A notebook among a run's files. */
export function NotebookFile({ run, file, times, failed = null }: Props): ReactElement {
  const trans = useTrans();
  const [isWanted, setWanted] = useState((file.size ?? 0) <= LARGE);
  return isWanted ? (
    <Shown run={run} file={file} times={times} failed={failed} />
  ) : (
    <Empty>
      {trans.__('It has %1; showing it may take a while.', size(file.size ?? 0))}{' '}
      <button type="button" className="jp-mlops-button" onClick={() => setWanted(true)}>
        {trans.__('Show')}
      </button>
    </Empty>
  );
}

function Shown({ run, file, times, failed = null }: Props): ReactElement {
  const trans = useTrans();
  const text = useText(run.run_id, file, null);
  const timed = useText(run.run_id, times, null);
  if (text.data === undefined) {
    return text.error === null ? <Loading /> : <Failure error={text.error} onRetry={() => void text.refetch()} />;
  }
  const notebook = documentOf(parsed(text.data));
  return notebook === null ? (
    <Empty>{trans.__('It is no notebook that can be shown; download it to look at it.')}</Empty>
  ) : (
    <Cells run={run} file={file} notebook={notebook} seconds={secondsOf(parsed(timed.data))} failed={failed} />
  );
}

function secondsOf(value: unknown): ReadonlyMap<number, number> {
  const entries = Array.isArray(value) ? (value as ({ index?: unknown; seconds?: unknown } | null)[]) : [];
  return new Map(
    entries.flatMap(entry =>
      typeof entry?.index === 'number' && typeof entry.seconds === 'number' ? [[entry.index, entry.seconds]] : []
    )
  );
}
