import { type ReactElement, useEffect, useState } from 'react';

import type { Artifact, Run } from '../../api';
import { Empty, Failure, Loading } from '../../components';
import { size } from '../../components/figures';
import { Markdown } from '../../components/rendered';
import { useApi, useTrans } from '../../view';
import { contentUrl, MOST_TEXT, parsed, readFile, useText } from '../files';
import { NotebookFile } from '../notebook/Notebook';
import { Rows } from '../Overview';
import { rowsOf } from './csv';
import { imageType, kindOf } from './kinds';

interface Props {
  readonly run: Run;
  readonly file: Artifact;
}

/** Images above this many bytes are not shown. */
const MOST_IMAGE = 20_000_000;
const MOST_ROWS = 1000;

/** A look into a file, and the way to all of it. */
export function Preview({ run, file }: Props): ReactElement {
  const api = useApi();
  const trans = useTrans();
  return (
    <>
      <div className="jp-mlops-actions">
        <strong className="jp-mlops-name" title={file.path}>
          {file.path}
        </strong>
        <span className="jp-mlops-number">{size(file.size ?? 0)}</span>
        <a className="jp-mlops-button" href={contentUrl(api, run.run_id, file.path)} download={file.path.split('/').at(-1)}>
          {trans.__('Download')}
        </a>
      </div>
      <Content run={run} file={file} />
    </>
  );
}

function Content({ run, file }: Props): ReactElement {
  switch (kindOf(file.path)) {
    case 'image':
      return <Image run={run} file={file} />;
    case 'notebook':
      return <NotebookFile run={run} file={file} />;
    default:
      return <Text run={run} file={file} />;
  }
}

function Image({ run, file }: Props): ReactElement {
  const api = useApi();
  const trans = useTrans();
  const [url, setUrl] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const isLarge = (file.size ?? 0) > MOST_IMAGE;
  useEffect(() => {
    if (isLarge) {
      return;
    }
    const aborted = new AbortController();
    let made: string | undefined;
    readFile(api, run.run_id, file, { signal: aborted.signal }).then(
      bytes => {
        made = URL.createObjectURL(new Blob([bytes], { type: imageType(file.path) ?? 'image/png' }));
        setUrl(made);
      },
      (reason: unknown) => {
        if (!aborted.signal.aborted) {
          setError(reason);
        }
      }
    );
    return () => {
      aborted.abort();
      if (made !== undefined) {
        URL.revokeObjectURL(made);
      }
    };
  }, [api, run.run_id, file, isLarge]);
  if (isLarge) {
    return <Empty>{trans.__('It is too large to be shown here; download it.')}</Empty>;
  }
  if (error !== null) {
    return <Failure error={error} />;
  }
  return url === null ? (
    <Loading />
  ) : (
    <img src={url} alt={file.path} onError={() => setError(new Error(trans.__('It is no image that can be shown.')))} />
  );
}

function Text({ run, file }: Props): ReactElement {
  const trans = useTrans();
  const text = useText(run.run_id, file);
  if (text.data === undefined) {
    return text.error === null ? <Loading /> : <Failure error={text.error} onRetry={() => void text.refetch()} />;
  }
  if (text.data.includes('\0') || text.data.slice(0, 4000).includes('\uFFFD')) {
    return <Empty>{trans.__('It is no text; download it to look at it.')}</Empty>;
  }
  const isCut = (file.size ?? 0) > MOST_TEXT;
  return (
    <>
      {isCut && <Empty>{trans.__('The first %1 of %2:', size(MOST_TEXT), size(file.size ?? 0))}</Empty>}
      <Written path={file.path} text={text.data} isCut={isCut} />
    </>
  );
}

interface WrittenProps {
  readonly path: string;
  readonly text: string;
  readonly isCut: boolean;
}

function Written({ path, text, isCut }: WrittenProps): ReactElement {
  const trans = useTrans();
  const kind = kindOf(path);
  if (kind === 'table') {
    const [heads = [], ...rows] = rowsOf(text, path.endsWith('.tsv') ? '\t' : ',', MOST_ROWS + 1);
    return (
      <>
        <Rows heads={heads.map((head, column) => head || String(column + 1))} rows={rows} />
        {rows.length === MOST_ROWS && <Empty>{trans.__('The first %1 rows.', MOST_ROWS)}</Empty>}
      </>
    );
  }
  if (kind === 'markdown') {
    return <Markdown text={text} />;
  }
  const value = kind === 'json' && !isCut ? parsed(text) : undefined;
  return (
    <pre className="jp-mlops-plain" tabIndex={0}>
      {value === undefined ? text : JSON.stringify(value, null, 2)}
    </pre>
  );
}
