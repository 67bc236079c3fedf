import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { answered } from '../api';
import { Failure, Loading } from '../components';
import { type RegistryAddress, useApi } from '../view';

/** All registered models, or one. */
export function RegistryView({ model }: RegistryAddress): ReactElement {
  const { v1 } = useApi();
  const models = useQuery({
    queryKey: ['models'],
    queryFn: () => answered(v1.POST('/search/models', { body: {} }))
  });
  if (models.data === undefined) {
    return models.error === null ? <Loading /> : <Failure error={models.error} onRetry={() => void models.refetch()} />;
  }
  return (
    <ul className="jp-mlops-list">
      {models.data.items
        .filter(({ name }) => model === undefined || model === name)
        .map(({ name }) => (
          <li key={name}>{name}</li>
        ))}
    </ul>
  );
}
