import { type ReactElement, useState } from 'react';

import type { ModelVersion, RegisteredModel } from '../api';
import { Empty } from '../components';
import { useDecisionPage, useTrans } from '../view';
import { Override } from './Override';
import { Promote } from './Promote';
import { useStanding } from './queries';
import { RollBack } from './RollBack';

interface Props {
  readonly model: RegisteredModel;
  readonly versions: readonly ModelVersion[];
}

type Doing = 'promote' | 'rollback' | 'override';

/** What the aliases of a model point at, and the buttons that move them. */
export function Aliases({ model, versions }: Props): ReactElement {
  const trans = useTrans();
  const [isAsking, setAsking] = useState(false);
  const { aliases = [] } = model;
  return (
    <>
      {aliases.length === 0 && <Empty>{trans.__('No alias points at a version yet.')}</Empty>}
      <ul className="jp-mlops-list">
        {aliases.map(({ alias, version }) => (
          <Row key={alias} model={model} alias={alias} version={version} versions={versions} />
        ))}
      </ul>
      {versions.length > 0 &&
        (isAsking ? (
          <Promote model={model} versions={versions} onClose={() => setAsking(false)} />
        ) : (
          <button type="button" className="jp-mlops-button" data-kind="accept" onClick={() => setAsking(true)}>
            {trans.__('Promote…')}
          </button>
        ))}
    </>
  );
}

interface RowProps extends Props {
  readonly alias: string;
  readonly version: number;
}

function Row({ model, alias, version, versions }: RowProps): ReactElement {
  const trans = useTrans();
  const [doing, setDoing] = useState<Doing | null>(null);
  const standing = useStanding(model.name, alias).data;
  const page = useDecisionPage({ view: 'registry', model: model.name });
  const close = (): void => setDoing(null);
  const elsewhere = standing?.protected === true ? page : null;
  const refused = standing?.refused ?? {};
  return (
    <li className="jp-mlops-alias">
      <span className="jp-mlops-alias-name">
        <strong>{alias}</strong> {trans.__('is version %1', version)}
      </span>
      {standing?.protected === true && (
        <span className="jp-mlops-badge" title={trans.__('It moves by requests that meet the policy.')}>
          {trans.__('protected')}
        </span>
      )}
      {standing !== undefined && (
        <span className="jp-mlops-actions">
          {standing.back_to != null &&
            (elsewhere != null ? (
              <a className="jp-mlops-button" href={elsewhere} target="_blank" rel="noopener noreferrer">
                {trans.__('Roll back on the service’s page')}
              </a>
            ) : (
              <button
                type="button"
                className="jp-mlops-button"
                disabled={'rollback' in refused}
                title={refused.rollback}
                onClick={() => setDoing('rollback')}
              >
                {trans.__('Roll back…')}
              </button>
            ))}
          {elsewhere == null && !('override' in refused) && standing.protected && (
            <button
              type="button"
              className="jp-mlops-button"
              data-kind="danger"
              onClick={() => setDoing('override')}
            >
              {trans.__('Override…')}
            </button>
          )}
        </span>
      )}
      {doing === 'rollback' && standing !== undefined && <RollBack standing={standing} onClose={close} />}
      {doing === 'override' && standing !== undefined && (
        <Override standing={standing} versions={versions} onClose={close} />
      )}
    </li>
  );
}
