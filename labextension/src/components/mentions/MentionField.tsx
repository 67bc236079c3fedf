import { type KeyboardEvent, type ReactElement, useId, useLayoutEffect, useRef, useState } from 'react';

import { useTrans } from '../../view/host';
import { fitting, mentionAt } from './spot';

interface Props {
  readonly value: string;
  readonly onChange: (value: string) => void;
  /** Names that may follow an @. Others can be typed. */
  readonly names: readonly string[];
  readonly label: string;
  readonly placeholder: string;
  /** In characters; as many as the server takes when absent. */
  readonly maxLength?: number;
  readonly isDisabled?: boolean;
  /** The id of what says more about it. */
  readonly describedBy?: string;
  readonly onFocus?: () => void;
}

/** A text of several lines, in which names are completed behind an @. */
export function MentionField({ value, onChange, names, label, placeholder, ...props }: Props): ReactElement {
  const trans = useTrans();
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  /** Where the cursor belongs once what was taken stands in the field. */
  const caret = useRef<number | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const [active, setActive] = useState(0);
  const spot = cursor === null ? null : mentionAt(value, cursor);
  const offered = spot === null ? [] : fitting(names, spot.typed);
  const isOpen = offered.length > 0;
  const chosen = Math.min(active, offered.length - 1);

  useLayoutEffect(() => {
    if (caret.current !== null) {
      field.current?.setSelectionRange(caret.current, caret.current);
      caret.current = null;
    }
  }, [value]);

  const look = (): void => {
    setCursor(field.current?.selectionStart ?? null);
    setActive(0);
  };
  const close = (): void => setCursor(null);
  const take = (name: string | undefined): void => {
    if (spot === null || name === undefined) {
      return;
    }
    const rest = value.slice(spot.to);
    const before = `${value.slice(0, spot.from)}@${name} `;
    caret.current = before.length;
    onChange(before + rest.replace(/^ /, ''));
    close();
  };
  const press = (event: KeyboardEvent): void => {
    if (!isOpen) {
      return;
    }
    switch (event.key) {
      case 'ArrowDown':
      case 'ArrowUp':
        setActive((chosen + (event.key === 'ArrowDown' ? 1 : offered.length - 1)) % offered.length);
        break;
      case 'Enter':
      case 'Tab':
        take(offered[chosen]);
        break;
      case 'Escape':
        close();
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="jp-mlops-mentions">
      <textarea
        ref={field}
        rows={2}
        aria-label={label}
        aria-autocomplete="list"
        aria-controls={isOpen ? `${id}-list` : undefined}
        aria-activedescendant={isOpen ? `${id}-${chosen}` : undefined}
        aria-describedby={props.describedBy}
        placeholder={placeholder}
        maxLength={props.maxLength}
        disabled={props.isDisabled}
        value={value}
        onChange={event => {
          onChange(event.target.value);
          look();
        }}
        onClick={look}
        onBlur={close}
        onFocus={props.onFocus}
        onKeyDown={press}
      />
      {isOpen && (
        <ul className="jp-mlops-suggestions" role="listbox" id={`${id}-list`} aria-label={trans.__('People')}>
          {offered.map((name, index) => (
            <li
              key={name}
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === chosen}
              onMouseDown={event => {
                event.preventDefault();
                take(name);
              }}
            >
              {name}
            </li>
          ))}
        </ul>
      )}
      <span className="jp-mlops-hidden" role="status">
        {isOpen && trans._n('%1 name fits', '%1 names fit', offered.length)}
      </span>
    </div>
  );
}
