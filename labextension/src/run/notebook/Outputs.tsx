import type { IOutput } from '@jupyterlab/nbformat';
import { lazy, type ReactElement, Suspense } from 'react';

import { Loading } from '../../components';
import { useTrans } from '../../view';
import { withheld } from './document';

interface Props {
  readonly outputs: readonly IOutput[];
}

const OutputArea = lazy(() => import('./OutputArea'));

/** The outputs of a cell, and what is not shown of them. */
export function Outputs({ outputs }: Props): ReactElement {
  const trans = useTrans();
  const types = [...new Set(outputs.flatMap(withheld))];
  return (
    <>
      <Suspense fallback={<Loading />}>
        <OutputArea outputs={outputs} />
      </Suspense>
      {types.length > 0 && <p className="jp-mlops-withheld">{trans.__('Not shown here: %1', types.join(', '))}</p>}
    </>
  );
}
