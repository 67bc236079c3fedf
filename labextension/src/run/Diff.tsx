import type { ReactElement } from 'react';
import type { Artifact } from '../api';
import { Failure, Loading } from '../components';
import { size } from '../components/figures';
import { useTrans } from '../view';
import { MOST_TEXT, useText } from './files';

interface Props {
  readonly runId: string;
  readonly file: Artifact;
}

/** A patch, line by line. */
export function Diff({ runId, file }: Props): ReactElement {
  const trans = useTrans();
  const text = useText(runId, file);
  if (text.data === undefined) {
    return text.error === null ? <Loading /> : <Failure error={text.error} onRetry={() => void text.refetch()} />;
  }
  return (
    <>
      <pre className="jp-mlops-plain jp-mlops-diff" tabIndex={0}>
        {text.data.split('\n').map((line, index) => (
          <span key={index} data-kind={kindOf(line)}>
            {`${line}\n`}
          </span>
        ))}
      </pre>
      {(file.size ?? 0) > MOST_TEXT && (
        <p className="jp-mlops-empty">{trans.__('The first %1 of %2.', size(MOST_TEXT), size(file.size ?? 0))}</p>
      )}
    </>
  );
}

function kindOf(line: string): string | undefined {
  if (/^(diff |index |---|\+\+\+)/.test(line)) {
    return 'file';
  }
  const kinds: Partial<Record<string, string>> = { '+': 'added', '-': 'removed', '@': 'place' };
  return kinds[line[0] ?? ''];
}
