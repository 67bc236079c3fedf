import { type ReactElement, useState } from 'react';

import { Popover } from '../components/Popover';
import { useTrans } from '../view';
import { ATTRIBUTES, type Choice, chosen, NO_CHOICE, showsAttribute } from './choice';
import { attributeTitles, groupNames } from './columns';
import { fieldName, type Gathered, isSystems, type Kind } from './fields';

interface Props {
  readonly gathered: Gathered;
  readonly choice: Choice;
  readonly onChoose: (change: Partial<Choice>) => void;
}

interface Item {
  readonly id: string;
  readonly title: string;
  readonly isShown: boolean;
  readonly isSystems: boolean;
}

const KINDS: readonly Kind[] = ['attributes', 'params', 'metrics', 'tags'];

/** Which columns are shown, by group. */
export function ColumnsMenu(props: Props): ReactElement {
  const trans = useTrans();
  return <Popover label={trans.__('Columns')}>{() => <Groups {...props} />}</Popover>;
}

function Groups({ gathered, choice, onChoose }: Props): ReactElement {
  const trans = useTrans();
  const [wanted, setWanted] = useState('');
  const shown = new Set(chosen(gathered, choice));
  const names = groupNames(trans);
  const titles = attributeTitles(trans);
  const items = (kind: Kind): Item[] => {
    const all =
      kind === 'attributes'
        ? ATTRIBUTES.filter(name => name !== 'name').map(name => ({
            id: fieldName(kind, name),
            title: titles[name],
            isShown: showsAttribute(name, choice),
            isSystems: false
          }))
        : [...gathered.facts]
            .filter(([, each]) => each.kind === kind)
            .map(([id, { key }]) => ({ id, title: key, isShown: shown.has(id), isSystems: isSystems(kind, key) }));
    const found = all.filter(({ title }) => title.toLowerCase().includes(wanted.toLowerCase()));
    return found.sort((one, other) => Number(one.isSystems) - Number(other.isSystems));
  };
  const set = (ids: readonly string[], isShown: boolean): void =>
    onChoose({ shown: { ...choice.shown, ...Object.fromEntries(ids.map(id => [id, isShown])) } });
  return (
    <div className="jp-mlops-runs-columns">
      <input
        type="text"
        className="jp-mlops-input"
        aria-label={trans.__('Find a column')}
        placeholder={trans.__('Find a column')}
        value={wanted}
        onChange={event => setWanted(event.target.value)}
      />
      <div className="jp-mlops-runs-columns-groups">
        {KINDS.map(kind => ({ kind, found: items(kind) }))
          .filter(({ found }) => found.length > 0)
          .map(({ kind, found }) => (
            <fieldset key={kind}>
              <legend>{names[kind]}</legend>
              {found.length > 1 && (
                <button
                  type="button"
                  className="jp-mlops-link"
                  onClick={() =>
                    set(
                      found.map(({ id }) => id),
                      !found.every(({ isShown }) => isShown)
                    )
                  }
                >
                  {found.every(({ isShown }) => isShown) ? trans.__('None') : trans.__('All')}
                </button>
              )}
              {found.map(({ id, title, isShown }) => (
                <label key={id} title={title}>
                  <input type="checkbox" checked={isShown} onChange={event => set([id], event.target.checked)} /> {title}
                </label>
              ))}
            </fieldset>
          ))}
      </div>
      <button type="button" className="jp-mlops-button" onClick={() => onChoose({ shown: NO_CHOICE.shown, widths: NO_CHOICE.widths })}>
        {trans.__('As at first')}
      </button>
    </div>
  );
}
