/** What a view asks of whatever shows it: JupyterLab, or the service's page. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { createContext, useContext } from 'react';

import type { ViewAddress } from './address';

export interface Question {
  readonly title: string;
  readonly body: string;
  /** What the button says that does it. */
  readonly action: string;
  readonly isDangerous?: boolean;
}

export type ToastKind = 'info' | 'success' | 'warning' | 'error';

export interface ToastOptions {
  /** What a click on "Details" shows. */
  readonly details?: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

/** Commands of JupyterLab. */
export interface Commands {
  has(id: string): boolean;
  execute(id: string, args: Readonly<Record<string, string>>): Promise<unknown>;
}

export interface Host {
  readonly kind: 'lab' | 'page';
  readonly trans: TranslationBundle;
  /** Show a view: in a tab of JupyterLab, or on the page in place of this one. */
  readonly open: (address: ViewAddress) => void;
  /** The URL of a view, for others: on a hub that of the service's page. */
  readonly link: (address: ViewAddress) => string;
  /** For what only JupyterLab can do; null on the page. */
  readonly commands: Commands | null;
  /** Where the hub is, with a slash at its end; null without one. */
  readonly hub: string | null;
  readonly confirm: (question: Question) => Promise<boolean>;
  readonly toast: (message: string, kind: ToastKind, options?: ToastOptions) => void;
}

export const HostContext = createContext<Host | null>(null);

export function useHost(): Host {
  const host = useContext(HostContext);
  if (host === null) {
    throw new Error('a view is shown by nobody');
  }
  return host;
}

export function useTrans(): TranslationBundle {
  return useHost().trans;
}
