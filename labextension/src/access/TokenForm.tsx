import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useId, useState } from 'react';

import { answered, principalQuery } from '../api';
import { Failure } from '../components';
import { useApi, useTrans } from '../view';
import { type AccessToken, TOKENS } from './queries';

const DAYS = [7, 30, 90, 366];
const USUAL_DAYS = 90;

interface Props {
  readonly onMade: (token: AccessToken) => void;
}

/** Makes a token. */
export function TokenForm({ onMade }: Props): ReactElement {
  const trans = useTrans();
  const api = useApi();
  const cache = useQueryClient();
  const id = useId();
  const { data: principal } = useQuery(principalQuery(api));
  const [name, setName] = useState('');
  const [owner, setOwner] = useState('');
  const [scope, setScope] = useState('write');
  const [days, setDays] = useState(USUAL_DAYS);
  const groups = [...(principal?.groups ?? [])].sort().map(group => `group:${group}`);
  const make = useMutation({
    mutationFn: () =>
      answered(
        api.v1.POST('/access-tokens', { body: { name: name.trim(), scope, days, ...(owner === '' ? {} : { owner }) } })
      ),
    onSuccess: async token => {
      setName('');
      onMade(token);
      await cache.invalidateQueries({ queryKey: TOKENS });
    }
  });
  const isReady = name.trim() !== '' && !make.isPending;
  return (
    <form
      className="jp-mlops-form"
      onSubmit={event => {
        event.preventDefault();
        if (isReady) {
          make.mutate();
        }
      }}
    >
      <label htmlFor={`${id}-name`}>{trans.__('What it is for')}</label>
      <input id={`${id}-name`} value={name} maxLength={100} onChange={event => setName(event.target.value)} />
      <label htmlFor={`${id}-owner`}>{trans.__('On whose things it works')}</label>
      <select id={`${id}-owner`} value={owner} onChange={event => setOwner(event.target.value)}>
        <option value="">{trans.__('as of new things')}</option>
        {[principal?.name ?? '', ...groups]
          .filter(each => each !== '')
          .map(each => (
            <option key={each} value={each}>
              {each}
            </option>
          ))}
      </select>
      <label htmlFor={`${id}-scope`}>{trans.__('What it may do')}</label>
      <select id={`${id}-scope`} value={scope} onChange={event => setScope(event.target.value)}>
        <option value="write">{trans.__('read and write')}</option>
        <option value="read">{trans.__('read')}</option>
      </select>
      <label htmlFor={`${id}-days`}>{trans.__('How long it counts')}</label>
      <select id={`${id}-days`} value={days} onChange={event => setDays(Number(event.target.value))}>
        {DAYS.map(each => (
          <option key={each} value={each}>
            {trans._n('%1 day', '%1 days', each)}
          </option>
        ))}
      </select>
      {make.error !== null && <Failure error={make.error} />}
      <div className="jp-mlops-actions">
        <button type="submit" className="jp-mlops-button" data-kind="accept" disabled={!isReady}>
          {trans.__('Make the token')}
        </button>
      </div>
    </form>
  );
}
