import { type ReactElement, useState } from 'react';

import type { AliasPeriod, ModelVersion } from '../api';
import { useTrans } from '../view';
import { useHistory } from './queries';

interface Props {
  readonly name: string;
  readonly versions: readonly ModelVersion[];
}

/** Versions along time, and below them what each alias pointed at. The history says the same in words. */
export function Timeline({ name, versions }: Props): ReactElement | null {
  const trans = useTrans();
  const periods = useHistory(name).data ?? [];
  const [now] = useState(() => Date.now());
  if (versions.length === 0) {
    return null;
  }
  const first = Math.min(...versions.map(({ created }) => created), ...periods.map(({ move }) => move.at));
  const at = (time: number): number => (100 * (time - first)) / Math.max(now - first, 1);
  const aliases = [...new Set(periods.map(({ move }) => move.alias))];
  return (
    <figure className="jp-mlops-timeline">
      <figcaption className="jp-mlops-hidden">
        {trans.__('Versions along time, and what each alias pointed at. The history below says the same.')}
      </figcaption>
      <div className="jp-mlops-lane" aria-hidden="true">
        <span className="jp-mlops-lane-name">{trans.__('versions')}</span>
        <div className="jp-mlops-lane-line">
          {versions.map(({ version, created, user }) => (
            <span
              key={version}
              className="jp-mlops-lane-point"
              style={{ insetInlineStart: `${at(created)}%` }}
              title={trans.__('version %1, registered by %2, %3', version, user, new Date(created).toLocaleString())}
            >
              {version}
            </span>
          ))}
        </div>
      </div>
      {aliases.map(alias => (
        <div key={alias} className="jp-mlops-lane" aria-hidden="true">
          <span className="jp-mlops-lane-name" title={alias}>
            {alias}
          </span>
          <div className="jp-mlops-lane-line">
            {periods
              .filter(({ move }) => move.alias === alias && move.version != null)
              .map(period => (
                <Segment key={period.move.at} period={period} from={at(period.move.at)} to={at(period.until ?? now)} />
              ))}
          </div>
        </div>
      ))}
      <div className="jp-mlops-lane-ends" aria-hidden="true">
        <span>{new Date(first).toLocaleDateString()}</span>
        <span>{trans.__('now')}</span>
      </div>
    </figure>
  );
}

interface SegmentProps {
  readonly period: AliasPeriod;
  readonly from: number;
  readonly to: number;
}

function Segment({ period, from, to }: SegmentProps): ReactElement {
  const trans = useTrans();
  const { move, promotion } = period;
  const who = trans.__('version %1, by %2, %3', String(move.version), move.user, new Date(move.at).toLocaleString());
  const why = move.reason === undefined || move.reason === '' ? '' : `: ${move.reason}`;
  return (
    <span
      className="jp-mlops-lane-segment"
      data-kind={promotion?.kind}
      style={{ insetInlineStart: `${from}%`, width: `${Math.max(to - from, 0.5)}%` }}
      title={who + why}
    >
      v{move.version}
    </span>
  );
}
