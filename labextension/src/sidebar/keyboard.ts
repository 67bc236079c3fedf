import type { KeyboardEvent } from 'react';

const STEPS: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };

/** Up and down go from row to row, over the ends of lists. */
export function moveBetweenRows(event: KeyboardEvent<HTMLElement>): void {
  const step = STEPS[event.key];
  const from = (event.target as HTMLElement).closest<HTMLElement>('.jp-mlops-row');
  if (step === undefined || from === null) {
    return;
  }
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>('.jp-mlops-row')];
  rows[rows.indexOf(from) + step]?.focus();
  event.preventDefault();
}
