import { type ReactElement, type ReactNode, useState } from 'react';

import type { Run } from '../api';
import { Empty } from '../components';
import { figure } from '../components/figures';
import { useHost, useTrans } from '../view';
import { Comments } from './Comments';
import { Notes } from './Notes';
import { useChildren } from './queries';
import { RunLink } from './RunLink';
import { ownTags, SYSTEM } from './tags';

/** So many rows of a table are shown before the rest is asked for. */
const MANY = 200;

/** Parameters, last metrics, inputs, notes and comments. */
export function Overview({ run }: { readonly run: Run }): ReactElement {
  const trans = useTrans();
  const { params = [], inputs = [] } = run;
  const metrics = (run.metrics ?? []).filter(({ key }) => !key.startsWith(SYSTEM));
  const tags = ownTags(run);
  const children = useChildren(run.run_id).data ?? [];
  return (
    <div className="jp-mlops-columns">
      <Part title={trans.__('Parameters')}>
        {params.length === 0 ? (
          <Empty>{trans.__('None. A cell tagged "parameters" gives a notebook some.')}</Empty>
        ) : (
          <Rows
            heads={[trans.__('Name'), trans.__('Value')]}
            rows={params.map(({ key, text, redacted }) => [
              key,
              redacted === true ? <em key="">{trans.__('secret, not recorded')}</em> : text
            ])}
          />
        )}
      </Part>
      <Part title={trans.__('Metrics')}>
        {metrics.length === 0 ? (
          <Empty>{trans.__('None logged. In a notebook: mlops.log_metric("auc", 0.9).')}</Empty>
        ) : (
          <Rows
            heads={[trans.__('Name'), trans.__('Last'), trans.__('Least'), trans.__('Greatest'), trans.__('Points')]}
            numbers={[1, 2, 3, 4]}
            rows={metrics.map(({ key, value, min, max, count }) => [
              key,
              <strong key="" title={String(value)}>
                {figure(value)}
              </strong>,
              count > 1 ? figure(min) : '',
              count > 1 ? figure(max) : '',
              count.toLocaleString()
            ])}
          />
        )}
      </Part>
      {children.length > 0 && (
        <Part title={run.kind === 'sweep' ? trans.__('Runs of the sweep') : trans.__('Runs within it')}>
          <ul className="jp-mlops-list">
            {children.slice(0, MANY).map(child => (
              <li key={child.run_id}>
                <RunLink run={child} />
              </li>
            ))}
          </ul>
        </Part>
      )}
      {inputs.length > 0 && (
        <Part title={trans.__('Inputs')}>
          <Rows
            heads={[trans.__('Data set'), trans.__('Used for'), trans.__('Rows'), trans.__('Digest'), trans.__('From')]}
            numbers={[2]}
            rows={inputs.map(({ dataset, context = '' }) => [
              dataset.name,
              context,
              dataset.rows?.toLocaleString() ?? '',
              <code key="" title={dataset.digest}>
                {dataset.digest.slice(0, 8)}
              </code>,
              dataset.source ?? ''
            ])}
          />
        </Part>
      )}
      {tags.length > 0 && (
        <Part title={trans.__('Tags')}>
          <Rows heads={[trans.__('Name'), trans.__('Value')]} rows={tags.map(({ key, value }) => [key, value])} />
        </Part>
      )}
      <Part title={trans.__('Notes')}>
        <Notes run={run} />
      </Part>
      <Part title={trans.__('Comments')}>
        <Comments run={run} />
      </Part>
    </div>
  );
}

export function Part({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactElement {
  return (
    <section className="jp-mlops-part">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

interface RowsProps {
  readonly heads: readonly string[];
  readonly rows: readonly (readonly ReactNode[])[];
  /** The columns that are aligned as numbers. */
  readonly numbers?: readonly number[];
}

/** A short table. */
export function Rows({ heads, rows, numbers = [] }: RowsProps): ReactElement {
  const { trans } = useHost();
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole ? rows : rows.slice(0, MANY);
  return (
    <>
      <table className="jp-mlops-table">
        <thead>
          <tr>
            {heads.map((head, column) => (
              <th key={head} scope="col" className={numbers.includes(column) ? 'jp-mlops-number' : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column} className={numbers.includes(column) ? 'jp-mlops-number' : undefined}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < rows.length && (
        <button type="button" className="jp-mlops-link" onClick={() => setWhole(true)}>
          {trans.__('Show all %1', rows.length)}
        </button>
      )}
    </>
  );
}
