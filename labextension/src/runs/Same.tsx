import type { ReactElement } from 'react';

import { useTrans } from '../view';
import type { Facts } from './fields';

const MOST = 12;

/** What all runs have in common, which therefore has no column. */
export function Same({ facts, runs, hasMore }: { readonly facts: readonly Facts[]; readonly runs: number; readonly hasMore: boolean }): ReactElement | null {
  const trans = useTrans();
  if (facts.length === 0) {
    return null;
  }
  return (
    <p className="jp-mlops-runs-same">
      {hasMore ? trans.__('The same in all %1 loaded runs:', runs) : trans.__('The same in all:')}{' '}
      {facts.slice(0, MOST).map(({ kind, key, text }) => (
        <span key={`${kind}.${key}`} title={`${kind}.${key} = ${text}`}>
          <span className="jp-mlops-runs-key">{key}</span> {text}
        </span>
      ))}
      {facts.length > MOST && <span>{trans.__('and %1 more', facts.length - MOST)}</span>}
    </p>
  );
}
