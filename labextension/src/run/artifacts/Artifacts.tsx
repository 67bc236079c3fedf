import { type ReactElement, useState } from 'react';

import type { Artifact, Run } from '../../api';
import { Empty, Failure, Loading } from '../../components';
import { useTrans } from '../../view';
import { useFiles } from '../queries';
import { Preview } from './Preview';
import { Tree } from './Tree';

/** The files of a run, and a look into one of them. */
export function Artifacts({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const files = useFiles(run.run_id);
  const [chosen, choose] = useState<string | null>(null);
  if (files.data === undefined) {
    return files.error === null ? <Loading /> : <Failure error={files.error} onRetry={() => void files.refetch()} />;
  }
  if (files.data.length === 0) {
    return <Empty>{trans.__('No files. In a notebook: mlops.log_artifact(path), mlops.log_figure(figure, path).')}</Empty>;
  }
  const file: Artifact | undefined = files.data.find(({ path }) => path === chosen);
  return (
    <div className="jp-mlops-artifacts">
      <Tree files={files.data} chosen={chosen} onChoose={choose} />
      <div className="jp-mlops-preview">
        {file === undefined ? (
          <Empty>{trans.__('Choose a file to look into it.')}</Empty>
        ) : (
          <Preview key={file.path + (file.digest ?? '')} run={run} file={file} />
        )}
      </div>
    </div>
  );
}
