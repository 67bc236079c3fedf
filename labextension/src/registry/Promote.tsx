import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { type AliasStanding, answered, checkNames, type ModelVersion, type RegisteredModel } from '../api';
import { Failure } from '../components';
import { useApi, useHost } from '../view';
import { useStanding } from './queries';

interface Props {
  readonly model: RegisteredModel;
  readonly versions: readonly ModelVersion[];
  readonly onClose: () => void;
}

/** Asks to point an alias at a version; says at once what that takes, and when nobody could approve it. */
export function Promote({ model, versions, onClose }: Props): ReactElement {
  const { trans, open, toast } = useHost();
  const { v1 } = useApi();
  const cache = useQueryClient();
  const id = useId();
  const [version, setVersion] = useState(String(versions[0]?.version ?? ''));
  const [alias, setAlias] = useState('production');
  const [reason, setReason] = useState('');
  const standing = useStanding(model.name, alias.trim(), Number(version));
  const refusal = standing.data?.refused?.request;
  const ask = useMutation({
    mutationFn: () =>
      answered(
        v1.POST('/promotions', {
          body: { model: model.name, version: Number(version), alias: alias.trim(), reason: reason.trim() }
        })
      ),
    onSuccess: async made => {
      onClose();
      await cache.invalidateQueries({ queryKey: ['model', model.name] });
      if (made.state === 'promoted') {
        toast(trans.__('%1@%2 is version %3 now.', made.model, made.alias, String(made.version)), 'success');
      } else {
        toast(trans.__('Asked: %1 v%2 → %3', made.model, String(made.version), made.alias), 'success');
        open({ view: 'review', requestId: made.request_id });
      }
    }
  });
  return (
    <form
      className="jp-mlops-form jp-mlops-reason-form"
      aria-label={trans.__('Promote a version')}
      onSubmit={event => {
        event.preventDefault();
        ask.mutate();
      }}
    >
      <label htmlFor={`${id}-version`}>{trans.__('Version')}</label>
      <select id={`${id}-version`} value={version} onChange={event => setVersion(event.target.value)}>
        {versions.map(each => (
          <option key={each.version} value={each.version}>
            v{each.version}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-alias`}>{trans.__('Alias')}</label>
      <input
        id={`${id}-alias`}
        required
        value={alias}
        list={`${id}-aliases`}
        onChange={event => setAlias(event.target.value)}
      />
      <datalist id={`${id}-aliases`}>
        {(model.aliases ?? []).map(each => (
          <option key={each.alias} value={each.alias} />
        ))}
      </datalist>
      <label htmlFor={`${id}-reason`}>{trans.__('Reason')}</label>
      <textarea
        id={`${id}-reason`}
        rows={3}
        placeholder={trans.__('What is better, for whom?')}
        value={reason}
        onChange={event => setReason(event.target.value)}
      />
      {standing.error !== null && <Failure error={standing.error} />}
      {standing.data !== undefined && <Takes standing={standing.data} />}
      {refusal !== undefined && (
        <p className="jp-mlops-warning" role="alert">
          {refusal}
        </p>
      )}
      {ask.error !== null && <Failure error={ask.error} />}
      <div className="jp-mlops-actions">
        <button
          type="submit"
          className="jp-mlops-button"
          data-kind="accept"
          disabled={ask.isPending || refusal !== undefined || standing.data === undefined}
        >
          {standing.data?.protected === false ? trans.__('Move the alias') : trans.__('Ask')}
        </button>
        <button type="button" className="jp-mlops-button" onClick={onClose}>
          {trans.__('Cancel')}
        </button>
      </div>
    </form>
  );
}

/** What it takes to move the alias. */
function Takes({ standing }: { readonly standing: AliasStanding }): ReactElement {
  const { trans } = useHost();
  const { version, policy } = standing;
  const now = version == null ? trans.__('It points at nothing now.') : trans.__('It points at version %1 now.', version);
  if (!standing.protected) {
    return <p>{`${now} ${trans.__('It is not protected: it moves at once.')}`}</p>;
  }
  const { approvals = 1, automatic = false, approvers = [], lifetime_days = 14 } = policy;
  const names = checkNames(policy).join(', ');
  const who = approvers.length > 0 ? approvers.join(', ') : trans.__('those who decide for its owner');
  return (
    <ul className="jp-mlops-takes">
      <li>{now}</li>
      <li>{names === '' ? trans.__('No checks.') : trans.__('Checks that must pass: %1.', names)}</li>
      <li>
        {automatic
          ? trans.__('Nobody has to approve.')
          : trans._n('%1 approval, of %2.', '%1 approvals, of %2.', approvals, who)}
      </li>
      <li>{trans.__('A request lives %1 days.', lifetime_days)}</li>
    </ul>
  );
}
