/** A filter in MLflow's grammar, completed while it is typed. */
import { type KeyboardEvent, type ReactElement, useId, useRef, useState } from 'react';

import type { Run } from '../../api';
import { useTrans } from '../../view';
import type { FactsById } from '../fields';
import { spotAt, type Suggestion, suggestions } from './completion';

interface Props {
  /** The one that is applied. */
  readonly filter: string;
  readonly facts: FactsById;
  readonly runs: readonly Run[];
  /** What the server says is wrong with it. */
  readonly problem: string | null;
  readonly onApply: (filter: string) => void;
}

export function FilterBar({ filter, facts, runs, problem, onApply }: Props): ReactElement {
  const trans = useTrans();
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(filter);
  const [cursor, setCursor] = useState<number | null>(null);
  const [active, setActive] = useState(-1);
  const [applied, setApplied] = useState(filter);
  if (applied !== filter) {
    setApplied(filter);
    setText(filter);
  }
  const spot = cursor === null ? null : spotAt(text, cursor);
  const offered = spot === null ? [] : suggestions(spot, facts, runs);
  const isOpen = offered.length > 0;

  const look = (): void => {
    setCursor(input.current?.selectionStart ?? null);
    setActive(-1);
  };
  const close = (): void => setCursor(null);
  const take = (suggestion: Suggestion): void => {
    if (spot === null) {
      return;
    }
    const rest = text.slice(spot.to).replace(/^ /, '');
    const before = text.slice(0, spot.from) + suggestion.text;
    setText(before + rest);
    setActive(-1);
    requestAnimationFrame(() => {
      input.current?.setSelectionRange(before.length, before.length);
      setCursor(before.length);
    });
  };
  const apply = (): void => {
    close();
    onApply(text.trim());
  };
  const press = (event: KeyboardEvent): void => {
    const picked = offered[active] ?? (event.key === 'Tab' && spot?.typed !== '' ? offered[0] : undefined);
    if (event.key === 'ArrowDown' && !isOpen) {
      look();
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const step = event.key === 'ArrowDown' ? 1 : -1;
      setActive(before => Math.min(Math.max(before + step, -1), offered.length - 1));
    } else if (event.key === 'Escape' && isOpen) {
      close();
    } else if ((event.key === 'Enter' || event.key === 'Tab') && isOpen && picked !== undefined) {
      take(picked);
    } else if (event.key === 'Enter') {
      apply();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="jp-mlops-runs-filter" role="search">
      <input
        ref={input}
        type="text"
        className="jp-mlops-input"
        role="combobox"
        aria-label={trans.__('Filter')}
        aria-expanded={isOpen}
        aria-controls={isOpen ? `${id}-list` : undefined}
        aria-autocomplete="list"
        aria-activedescendant={active >= 0 && isOpen ? `${id}-${active}` : undefined}
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : `${id}-problem`}
        autoComplete="off"
        spellCheck={false}
        placeholder={trans.__("Filter, such as metrics.auc > 0.9 AND params.kind = 'rf'")}
        value={text}
        onChange={event => {
          setText(event.target.value);
          look();
        }}
        onClick={look}
        onBlur={close}
        onKeyDown={press}
      />
      {filter !== '' && (
        <button type="button" className="jp-mlops-button" onClick={() => onApply('')}>
          {trans.__('Clear')}
        </button>
      )}
      {isOpen && (
        <ul className="jp-mlops-suggestions" role="listbox" id={`${id}-list`} aria-label={trans.__('Completions')}>
          {offered.map((suggestion, index) => (
            <li
              key={suggestion.label}
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === active}
              onMouseDown={event => {
                event.preventDefault();
                take(suggestion);
              }}
            >
              {suggestion.label}
            </li>
          ))}
        </ul>
      )}
      {problem !== null && (
        <p className="jp-mlops-runs-filter-problem" role="alert" id={`${id}-problem`}>
          {problem}
        </p>
      )}
    </div>
  );
}
