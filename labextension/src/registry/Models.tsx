import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { modelsQuery } from '../api';
import { Empty, Failure, Loading, Owner, RelativeTime, Share } from '../components';
import { useApi, useHost, useTitle } from '../view';

/** All registered models. */
export function Models(): ReactElement {
  const { open, trans } = useHost();
  const models = useQuery(modelsQuery(useApi()));
  useTitle(trans.__('Models'));
  const [filter, setFilter] = useState('');
  if (models.data === undefined) {
    return models.error === null ? <Loading /> : <Failure error={models.error} onRetry={() => void models.refetch()} />;
  }
  const shown = models.data.filter(({ name, owner }) => `${name} ${owner}`.toLowerCase().includes(filter.toLowerCase()));
  return (
    <div className="jp-mlops-registry">
      <header className="jp-mlops-head">
        <h1>{trans.__('Models')}</h1>
        <Share
          address={{ view: 'registry' }}
          code={{ cli: 'jupyter mlops models list', python: 'mlops.connect().models.search().items' }}
        />
      </header>
      {models.data.length === 0 ? (
        <Empty>
          {trans.__('No models yet: log one in a run with mlops.log_model, then register it from the run’s page.')}
        </Empty>
      ) : (
        <>
          <input
            type="search"
            className="jp-mlops-filter"
            aria-label={trans.__('Filter models')}
            placeholder={trans.__('filter …')}
            value={filter}
            onChange={event => setFilter(event.target.value)}
          />
          {shown.length === 0 && <Empty>{trans.__('No model’s name or owner has “%1” in it.', filter)}</Empty>}
          <ul className="jp-mlops-list jp-mlops-cards">
            {shown.map(({ name, owner, description = '', aliases = [], latest_version, updated }) => (
              <li key={name}>
                <button type="button" className="jp-mlops-card" onClick={() => open({ view: 'registry', model: name })}>
                  <strong>{name}</strong>
                  <span className="jp-mlops-facts">
                    <Owner owner={owner} />
                    {latest_version != null && <span>{trans.__('newest v%1', latest_version)}</span>}
                    <RelativeTime at={updated} />
                  </span>
                  <span className="jp-mlops-badges">
                    {aliases.map(({ alias, version }) => (
                      <span key={alias} className="jp-mlops-badge">
                        {alias} v{version}
                      </span>
                    ))}
                  </span>
                  {description !== '' && <span className="jp-mlops-clamped">{description}</span>}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
