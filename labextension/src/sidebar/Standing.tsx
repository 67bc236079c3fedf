import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { serverStatusQuery, type ServerStatus, useApi, useEventsState } from '../api';
import { useTrans } from '../view';

type Trans = ReturnType<typeof useTrans>;

/** Whether what is shown is how things are, and whether anything that was logged waits on this machine. */
export function Standing(): ReactElement {
  const trans = useTrans();
  const events = useEventsState();
  const { data, error } = useQuery(serverStatusQuery(useApi()));
  const isAway = events === 'lost' || error !== null;
  const isGood = !isAway && data?.connected === true;
  const where = isAway ? trans.__('The Jupyter server does not answer; trying again') : place(trans, data);
  return (
    <footer className="jp-mlops-standing" role="status" data-good={isGood}>
      <span title={data?.problem ?? data?.url}>
        <span aria-hidden="true">{isGood ? '●' : '○'}</span> {where}
      </span>
      {data !== undefined && <span>{spool(trans, data.spool)}</span>}
      {data?.warnings?.map(warning => (
        <span key={warning}>{warning}</span>
      ))}
    </footer>
  );
}

function place(trans: Trans, status: ServerStatus | undefined): string {
  if (status === undefined) {
    return trans.__('Connecting…');
  }
  if (!status.connected) {
    return status.is_service ? trans.__("The hub's service is away") : trans.__('Your store cannot be opened');
  }
  return status.is_service ? trans.__("Connected to the hub's service") : trans.__('Recording in your own store');
}

function spool(trans: Trans, { waiting, refused, damaged = [] }: ServerStatus['spool']): string {
  const told: string[] = [];
  if (waiting === null) {
    told.push(trans.__('what waits to be sent is not known'));
  } else if (waiting > 0) {
    told.push(trans._n('%1 entry waits to be sent', '%1 entries wait to be sent', waiting));
  }
  if (refused > 0) {
    told.push(trans._n('%1 entry was refused', '%1 entries were refused', refused));
  }
  if (damaged.length > 0) {
    told.push(trans.__('some entries are damaged'));
  }
  return told.length === 0 ? trans.__('nothing waits to be sent') : told.join(', ');
}
