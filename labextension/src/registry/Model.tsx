import { type ReactElement, type ReactNode, useState } from 'react';

import type { RegisteredModel } from '../api';
import { Failure, Loading, Owner, RelativeTime, Share, ShortId } from '../components';
import { useHost, useTitle } from '../view';
import { Aliases } from './Aliases';
import { Card } from './Card';
import { Consumers } from './Consumers';
import { History } from './History';
import { useModel, useOpenRequests, useVersions } from './queries';
import { Timeline } from './Timeline';
import { Versions } from './Versions';

/** A registered model: its versions, what its aliases point at and pointed at, who uses it. */
export function Model({ name }: { readonly name: string }): ReactElement {
  const model = useModel(name);
  if (model.data === undefined) {
    return model.error === null ? <Loading /> : <Failure error={model.error} onRetry={() => void model.refetch()} />;
  }
  return <Found model={model.data} />;
}

function Found({ model }: { readonly model: RegisteredModel }): ReactElement {
  const { open, trans } = useHost();
  const { name, owner, description = '', aliases = [], restricted = false, latest_version } = model;
  const versions = useVersions(name);
  useTitle(name);
  const [chosen, setChosen] = useState<number | null>(null);
  const production = aliases.find(({ alias }) => alias === 'production');
  const carded = chosen ?? production?.version ?? latest_version ?? null;
  return (
    <article className="jp-mlops-registry">
      <header className="jp-mlops-head">
        <h1>{name}</h1>
        <Owner owner={owner} />
        {restricted && (
          <span className="jp-mlops-badge" title={trans.__('Only who may read its owner’s things sees it')}>
            {trans.__('restricted')}
          </span>
        )}
        <button type="button" className="jp-mlops-link" onClick={() => open({ view: 'registry' })}>
          {trans.__('All models')}
        </button>
        <Share address={{ view: 'registry', model: name }} code={codeOf(model)} />
      </header>
      {description !== '' && <p>{description}</p>}
      <Requests name={name} />
      <Part title={trans.__('Aliases')}>
        <Aliases model={model} versions={versions.data ?? []} />
      </Part>
      <Part title={trans.__('Over time')}>
        <Timeline name={name} versions={versions.data ?? []} />
      </Part>
      <Part title={trans.__('Versions')}>
        <Versions model={model} query={versions} chosen={carded} onChoose={setChosen} />
      </Part>
      {carded !== null && (
        <Part title={trans.__('Card of version %1', carded)}>
          <Card key={carded} name={name} version={carded} />
        </Part>
      )}
      <Part title={trans.__('Used by')}>
        <Consumers name={name} />
      </Part>
      <Part title={trans.__('History')}>
        <History name={name} />
      </Part>
    </article>
  );
}

function Part({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactElement {
  return (
    <section className="jp-mlops-part" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** What waits to be decided. */
function Requests({ name }: { readonly name: string }): ReactElement | null {
  const { open, trans } = useHost();
  const requests = useOpenRequests(name).data ?? [];
  return requests.length === 0 ? null : (
    <section className="jp-mlops-part" aria-label={trans.__('Open requests')}>
      <h2>{trans.__('Open requests')}</h2>
      <ul className="jp-mlops-list">
        {requests.map(({ request_id, version, alias, requester, created, missing = [] }) => (
          <li key={request_id} className="jp-mlops-request">
            <button
              type="button"
              className="jp-mlops-button"
              onClick={() => open({ view: 'review', requestId: request_id })}
            >
              {trans.__('Review')}
            </button>
            <strong>
              v{version} → {alias}
            </strong>
            <span>{trans.__('asked by %1', requester)}</span>
            <RelativeTime at={created} />
            <ShortId id={request_id} />
            <span className="jp-mlops-faint">{missing.join('; ')}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function codeOf({ name, aliases = [] }: RegisteredModel): { python: string; magic: string; cli: string } {
  const alias = aliases.some(each => each.alias === 'production') ? 'production' : aliases[0]?.alias;
  const reference = alias === undefined ? 'latest' : `@${alias}`;
  const uri = `models:/${name}${alias === undefined ? '/latest' : reference}`;
  return {
    python: `import jupyter_mlops as mlops\n\nmodel = mlops.load_model(${JSON.stringify(uri)})`,
    magic: `%mlops promote ${quoted(name)} latest --reason "..."`,
    cli: `jupyter mlops models get ${quoted(`${name}${alias === undefined ? '' : reference}`)} DIR`
  };
}

/** A word of a shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
