/** Where the API is, and how a request gets there with the user's login. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface Connection {
  /** Ends with a slash; `api/v1/` is below it, and in a Jupyter server `server/v1/`. */
  readonly baseUrl: string;
  /** Whether runs can be submitted here: a Jupyter server, not the service's page. */
  readonly hasServer: boolean;
  fetch(request: Request): Promise<Response>;
  /** A new WebSocket of `api/v1/events`. */
  listen(): WebSocket;
}

const EVENTS = 'api/v1/events';

/** The user's own Jupyter server. */
export function jupyterConnection(settings: ServerConnection.ISettings): Connection {
  const baseUrl = URLExt.join(settings.baseUrl, 'mlops/');
  return {
    baseUrl,
    hasServer: true,
    fetch: async request => {
      const body = request.method === 'GET' ? undefined : await request.arrayBuffer();
      const { method, signal } = request;
      // For a cache of its own choice JupyterLab adds the time to the query, which the API would refuse.
      const init: RequestInit = { method, headers: [...request.headers], body, signal, cache: 'default' };
      // Adds Jupyter's XSRF token, or the server's where the browser has no cookie.
      return ServerConnection.makeRequest(request.url, init, settings);
    },
    listen: () => {
      const url = URLExt.join(settings.wsUrl, 'mlops', EVENTS);
      const token = settings.appendToken && settings.token ? `?token=${encodeURIComponent(settings.token)}` : '';
      return new settings.WebSocket(url + token);
    }
  };
}

/** The service itself, by the login of its page. */
export function serviceConnection(baseUrl: string): Connection {
  const url = new URL(baseUrl, window.location.href);
  return {
    baseUrl: url.href,
    hasServer: false,
    fetch: request => {
      const token = cookie('_xsrf');
      if (token !== null) {
        request.headers.set('X-XSRFToken', token);
      }
      return fetch(request);
    },
    listen: () => {
      const events = new URL(EVENTS, url);
      events.protocol = events.protocol.replace('http', 'ws');
      return new WebSocket(events);
    }
  };
}

function cookie(name: string): string | null {
  const found = document.cookie.split('; ').find(each => each.startsWith(`${name}=`));
  return found === undefined ? null : decodeURIComponent(found.slice(name.length + 1));
}
