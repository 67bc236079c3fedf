import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { type AliasStanding, answered } from '../api';
import { ReasonForm } from '../components';
import { useApi, useHost } from '../view';
import { Users } from './Consumers';

interface Props {
  readonly standing: AliasStanding;
  readonly onClose: () => void;
}

/** Points an alias at the version before, after saying whom that reaches. */
export function RollBack({ standing, onClose }: Props): ReactElement {
  const { trans, toast } = useHost();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const { model, alias, version, back_to, consumers = [] } = standing;
  const back = useMutation({
    mutationFn: (reason: string) =>
      answered(v1.POST('/promotions/rollback', { body: { model, alias, reason, to: back_to ?? null } })),
    onSuccess: async done => {
      toast(trans.__('%1@%2 is version %3 again.', model, alias, String(done.version)), 'success');
      onClose();
      await cache.invalidateQueries({ queryKey: ['model', model] });
    }
  });
  return (
    <ReasonForm
      action={trans.__('Roll back to version %1', String(back_to))}
      isDangerous
      isPending={back.isPending}
      error={back.error}
      onDone={reason => back.mutate(reason)}
      onCancel={onClose}
    >
      <p>
        <strong>
          {model}@{alias}: {version == null ? trans.__('nothing') : `v${version}`} → v{back_to}
        </strong>
      </p>
      <p>{trans.__('It happens at once. It reaches those who load the model by this alias:')}</p>
      <Users consumers={consumers} />
    </ReasonForm>
  );
}
