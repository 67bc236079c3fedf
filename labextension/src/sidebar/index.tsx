import { addIcon } from '@jupyterlab/ui-components';
import type { ReactElement } from 'react';

import { Section } from '../components';
import { RUN } from '../lab/commandIds';
import { useHost } from '../view';
import { Experiments } from './Experiments';
import { moveBetweenRows } from './keyboard';
import { Models } from './Models';
import { Running } from './Running';
import { ServerNotice } from './ServerNotice';
import { Standing } from './Standing';
import { WaitingForMe } from './WaitingForMe';

export { askAhead } from './questions';
export { waitingCount } from './WaitingForMe';

/** What is going on, at a glance. */
export function Sidebar(): ReactElement {
  const { commands, trans } = useHost();
  const start = commands?.has(RUN) === true && (
    <button
      type="button"
      className="jp-mlops-button"
      title={trans.__('Run the open notebook')}
      onClick={() => void commands.execute(RUN, {})}
    >
      <addIcon.react tag="span" width="14px" /> {trans.__('Run')}
    </button>
  );
  return (
    <div className="jp-mlops-sidebar" onKeyDown={moveBetweenRows}>
      <ServerNotice>
        <div className="jp-mlops-sections">
          <Section title={trans.__('Experiments')} actions={start}>
            <Experiments />
          </Section>
          <Running />
          <WaitingForMe />
          <Models />
        </div>
        <Standing />
      </ServerNotice>
    </div>
  );
}
