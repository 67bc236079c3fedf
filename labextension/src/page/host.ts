/** The page as views see it. */
import type { TranslationBundle } from '@jupyterlab/translation';

import { type Host, toPath } from '../view';

export function pageHost(trans: TranslationBundle, base: string): Host {
  return {
    kind: 'page',
    trans,
    open: address => {
      window.history.pushState(null, '', base + toPath(address));
      window.dispatchEvent(new PopStateEvent('popstate'));
    },
    commands: null,
    link: address => new URL(base + toPath(address), window.location.href).href,
    confirm: ({ title, body }) => Promise.resolve(window.confirm(`${title}\n\n${body}`)),
    toast: message => window.alert(message)
  };
}
