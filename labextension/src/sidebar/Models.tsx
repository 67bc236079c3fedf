import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { modelsQuery, openRequestsQuery, type Promotion, type RegisteredModel, useApi } from '../api';
import { Answer, Empty, Section } from '../components';
import { useHost } from '../view';

/** Registered models, with what their aliases point at and what waits to be promoted. */
export function Models(): ReactElement {
  const api = useApi();
  const { open, trans } = useHost();
  const models = useQuery(modelsQuery(api));
  const requests = useQuery(openRequestsQuery(api)).data ?? [];
  const all = (
    <button type="button" className="jp-mlops-link" onClick={() => open({ view: 'registry' })}>
      {trans.__('All')}
    </button>
  );
  return (
    <Section title={trans.__('Models')} actions={all}>
      <Answer query={models}>
        {found =>
          found.length === 0 ? (
            <Empty>{trans.__('None yet: register the model of a run, and it is here.')}</Empty>
          ) : (
            <ul className="jp-mlops-list">
              {found.map(model => (
                <Model
                  key={model.name}
                  model={model}
                  requests={requests.filter(request => request.model === model.name)}
                />
              ))}
            </ul>
          )
        }
      </Answer>
    </Section>
  );
}

interface Props {
  readonly model: RegisteredModel;
  readonly requests: readonly Promotion[];
}

function Model({ model, requests }: Props): ReactElement {
  const { open, trans } = useHost();
  const { name, aliases = [], latest_version } = model;
  const standing = aliases.map(({ alias, version }) => `${alias} v${version}`);
  if (standing.length === 0 && latest_version != null) {
    standing.push(trans.__('latest v%1', latest_version));
  }
  return (
    <li>
      <button type="button" className="jp-mlops-row" onClick={() => open({ view: 'registry', model: name })}>
        <span className="jp-mlops-name" title={name}>
          {name}
        </span>
        <span className="jp-mlops-owner">{standing.join(', ')}</span>
        {requests.map(({ request_id, version }) => (
          <span key={request_id} className="jp-mlops-owner">
            {trans.__('v%1 waiting', version)}
          </span>
        ))}
      </button>
    </li>
  );
}
