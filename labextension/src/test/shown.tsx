/** Shows a view as JupyterLab or the page does, over recorded answers. */
import { nullTranslator } from '@jupyterlab/translation';
import { render, type RenderResult } from '@testing-library/react';
import type { ReactNode } from 'react';

import { createApi, createCache, Events } from '../api';
import { Frame, type Host } from '../view';

export interface Asked {
  readonly method: string;
  /** Below `api/v1/`, with the query. */
  readonly path: string;
  readonly body: unknown;
}

/** By method and path, such as `GET page`; the first that the request begins with counts. */
export type Answers = Readonly<Record<string, unknown>>;

const BASE = 'https://hub.example/services/mlops/';

export function shown(
  children: ReactNode,
  answers: Answers,
  host: Partial<Host> = {}
): { readonly view: RenderResult; readonly asked: readonly Asked[] } {
  const asked: Asked[] = [];
  const connection = {
    baseUrl: BASE,
    hasServer: false,
    fetch: async (request: Request): Promise<Response> => {
      const path = request.url.slice(`${BASE}api/v1/`.length);
      const text = await request.text();
      asked.push({ method: request.method, path, body: text === '' ? null : JSON.parse(text) });
      const key = Object.keys(answers).find(each => `${request.method} ${path}`.startsWith(each));
      return key === undefined
        ? Response.json({ message: `nothing is recorded for ${request.method} ${path}` }, { status: 404 })
        : Response.json(answers[key]);
    },
    listen: (): WebSocket => {
      throw new Error('nothing listens here');
    }
  };
  const whole: Host = {
    kind: 'page',
    trans: nullTranslator.load('jupyter_mlops'),
    open: () => undefined,
    link: () => BASE,
    commands: null,
    run: null,
    hub: 'https://hub.example/hub/',
    confirm: () => Promise.resolve(true),
    toast: () => undefined,
    ...host
  };
  const around = { host: whole, api: createApi(connection), cache: createCache(), events: new Events(connection) };
  return { view: render(<Frame {...around}>{children}</Frame>), asked };
}
