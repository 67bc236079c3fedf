import { type KeyboardEvent, type ReactElement, type ReactNode, useEffect, useId, useRef, useState } from 'react';

interface Props {
  /** On the button. */
  readonly label: string;
  readonly isDisabled?: boolean;
  /** What the button opens; called with what closes it. */
  readonly children: (close: () => void) => ReactNode;
}

/** A button with something below it, until Escape or a click elsewhere. */
export function Popover({ label, isDisabled = false, children }: Props): ReactElement {
  const id = useId();
  const all = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (!isOpen) {
      return;
    }
    const opener = button.current;
    all.current?.querySelector<HTMLElement>('[role=dialog] :is(input, button, select)')?.focus();
    const leave = ({ target }: Event): void => {
      if (!(target instanceof Node && all.current?.contains(target) === true)) {
        setOpen(false);
      }
    };
    document.addEventListener('pointerdown', leave);
    return () => {
      document.removeEventListener('pointerdown', leave);
      opener?.focus();
    };
  }, [isOpen]);
  const close = (): void => setOpen(false);
  const press = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' && isOpen) {
      event.stopPropagation();
      close();
    }
  };
  return (
    <span ref={all} className="jp-mlops-popover" onKeyDown={press}>
      <button
        ref={button}
        type="button"
        className="jp-mlops-button"
        aria-expanded={isOpen}
        aria-haspopup="dialog"
        aria-controls={isOpen ? id : undefined}
        disabled={isDisabled}
        onClick={() => setOpen(!isOpen)}
      >
        {label} <span aria-hidden="true">▾</span>
      </button>
      {isOpen && (
        <div id={id} className="jp-mlops-popover-panel" role="dialog" aria-label={label}>
          {children(close)}
        </div>
      )}
    </span>
  );
}
