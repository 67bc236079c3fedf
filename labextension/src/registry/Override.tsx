import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { type AliasStanding, answered, type ModelVersion } from '../api';
import { ReasonForm } from '../components';
import { useApi, useHost } from '../view';
import { Users } from './Consumers';

interface Props {
  readonly standing: AliasStanding;
  readonly versions: readonly ModelVersion[];
  readonly onClose: () => void;
}

/** Points an alias anywhere, whatever the policy says: for administrators, loudly. */
export function Override({ standing, versions, onClose }: Props): ReactElement {
  const { trans, toast } = useHost();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const id = useId();
  const { model, alias, consumers = [] } = standing;
  const [target, setTarget] = useState('');
  const force = useMutation({
    mutationFn: (reason: string) =>
      answered(
        v1.POST('/promotions/override', {
          body: { model, alias, reason, version: target === '' ? null : Number(target) }
        })
      ),
    onSuccess: async done => {
      const now = done.version == null ? trans.__('is gone') : trans.__('is version %1', done.version);
      toast(trans.__('%1@%2 %3, by an override.', model, alias, now), 'warning');
      onClose();
      await cache.invalidateQueries({ queryKey: ['model', model] });
    }
  });
  return (
    <ReasonForm
      action={target === '' ? trans.__('Take the alias away') : trans.__('Point it at version %1', target)}
      isDangerous
      isPending={force.isPending}
      error={force.error}
      onDone={reason => force.mutate(reason)}
      onCancel={onClose}
    >
      <p className="jp-mlops-loud" role="alert">
        {trans.__('This goes against the policy: no checks, no approval. It is told to everybody who watches, and kept on record as an override, with your name.')}
      </p>
      <Users consumers={consumers} />
      <label htmlFor={id}>{trans.__('Version')}</label>
      <select id={id} value={target} onChange={event => setTarget(event.target.value)}>
        <option value="">{trans.__('none: take the alias away')}</option>
        {versions.map(({ version }) => (
          <option key={version} value={version}>
            v{version}
          </option>
        ))}
      </select>
    </ReasonForm>
  );
}
