import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { activeRunsQuery, type Experiment, experimentsQuery, type Principal, principalQuery, useApi } from '../api';
import { Answer, Empty, Owner, RelativeTime } from '../components';
import { useHost, useRemembered, useTrans } from '../view';

const WHOSE = ['all', 'mine', 'team', 'shared'] as const;
type Whose = (typeof WHOSE)[number];

const isWhose = (value: unknown): value is Whose => WHOSE.some(each => each === value);

/** The experiments that the user may see, those with the newest runs first. */
export function Experiments(): ReactElement {
  const api = useApi();
  const trans = useTrans();
  const [text, setText] = useState('');
  const [whose, setWhose] = useRemembered<Whose>('experiments', 'all', isWhose);
  const found = useQuery(experimentsQuery(api));
  const me = useQuery(principalQuery(api)).data;
  const words: Readonly<Record<Whose, string>> = {
    all: trans.__('All'),
    mine: trans.__('Mine'),
    team: trans.__('My groups'),
    shared: trans.__('Shared')
  };
  return (
    <>
      <div className="jp-mlops-sidebar-filter">
        <input
          type="search"
          value={text}
          placeholder={trans.__('Filter by name')}
          aria-label={trans.__('Filter experiments by name')}
          onChange={event => setText(event.target.value)}
        />
        <select
          value={whose}
          aria-label={trans.__('Whose experiments')}
          onChange={event => setWhose(event.target.value as Whose)}
        >
          {WHOSE.map(each => (
            <option key={each} value={each}>
              {words[each]}
            </option>
          ))}
        </select>
      </div>
      <Answer query={found}>
        {({ items, more }) => {
          const shown = items.filter(each => belongs(each, whose, me) && named(each, text)).sort(byActivity);
          return (
            <>
              {shown.length > 0 && <List experiments={shown} me={me} />}
              {items.length === 0 && <Empty>{trans.__('None yet: run a notebook, and its experiment is here.')}</Empty>}
              {items.length > 0 && shown.length === 0 && <Empty>{trans.__('None is like that.')}</Empty>}
              {more && <Empty>{trans.__('The newest %1 are looked at.', items.length)}</Empty>}
            </>
          );
        }}
      </Answer>
    </>
  );
}

interface ListProps {
  readonly experiments: readonly Experiment[];
  readonly me: Principal | undefined;
}

function List({ experiments, me }: ListProps): ReactElement {
  const { open, trans } = useHost();
  const active = useQuery(activeRunsQuery(useApi())).data ?? [];
  const busy = new Set(active.filter(run => run.status === 'RUNNING').map(run => run.experiment_id));
  return (
    <ul className="jp-mlops-list">
      {experiments.map(({ experiment_id, name, owner, runs = 0, last_run }) => (
        <li key={experiment_id}>
          <button
            type="button"
            className="jp-mlops-row"
            onClick={() => open({ view: 'runs', experimentId: experiment_id })}
          >
            <span className="jp-mlops-dot">
              {busy.has(experiment_id) && (
                <span role="img" aria-label={trans.__('running')} title={trans.__('Something is running')}>
                  ●
                </span>
              )}
            </span>
            <span className="jp-mlops-name" title={name}>
              {name}
            </span>
            {owner === me?.name ? <span className="jp-mlops-owner">{trans.__('me')}</span> : <Owner owner={owner} />}
            <span className="jp-mlops-number">{trans._n('%1 run', '%1 runs', runs)}</span>
            {last_run != null && <RelativeTime at={last_run} isShort />}
          </button>
        </li>
      ))}
    </ul>
  );
}

function belongs({ owner }: Experiment, whose: Whose, me: Principal | undefined): boolean {
  const isMine = owner === me?.name;
  const isTeams = (me?.groups ?? []).some(group => owner === `group:${group}`);
  return whose === 'all' || (whose === 'mine' ? isMine : whose === 'team' ? isTeams : !isMine && !isTeams);
}

function named({ name }: Experiment, text: string): boolean {
  return name.toLowerCase().includes(text.trim().toLowerCase());
}

function byActivity(a: Experiment, b: Experiment): number {
  return (b.last_run ?? b.created) - (a.last_run ?? a.created);
}
