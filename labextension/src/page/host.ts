/** The page as views see it. */
import type { TranslationBundle } from '@jupyterlab/translation';

import { type Host, toPath } from '../view';
import type { Notices } from './notices';

interface Settings {
  readonly trans: TranslationBundle;
  /** The path of the page, with a slash at its end. */
  readonly base: string;
  readonly hub: string | null;
  readonly notices: Notices;
}

export function pageHost({ trans, base, hub, notices }: Settings): Host {
  return {
    kind: 'page',
    trans,
    open: address => {
      window.history.pushState(null, '', base + toPath(address));
      window.scrollTo(0, 0);
      window.dispatchEvent(new PopStateEvent('popstate'));
    },
    commands: null,
    link: address => new URL(base + toPath(address), window.location.href).href,
    hub,
    confirm: question => notices.confirm(question),
    toast: (message, kind, options) => notices.add(message, kind, options)
  };
}
