import type { ReactElement } from 'react';

import { useTrans } from '../view';
import { Experiments } from './Experiments';

/** What is going on, at a glance. */
export function Sidebar(): ReactElement {
  const trans = useTrans();
  return (
    <div className="jp-mlops-sidebar">
      <h2>{trans.__('Experiments')}</h2>
      <Experiments />
    </div>
  );
}
