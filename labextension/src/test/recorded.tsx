/** Shows a view on answers that a real server gave, by their paths below `api/v1/`. */
import { nullTranslator } from '@jupyterlab/translation';
import { render, type RenderResult } from '@testing-library/react';
import type { ReactElement } from 'react';
import { vi } from 'vitest';

import { type Connection, createApi, createCache, Events } from '../api';
import { Frame, type Host } from '../view';

export interface Recorded {
  readonly shown: RenderResult;
  readonly host: Host;
  /** What was asked for beside, `METHOD path?query`. */
  readonly missed: string[];
}

/** `answers` are JSON values, or text for files. */
export function onRecord(view: ReactElement, answers: Readonly<Record<string, unknown>>): Recorded {
  const missed: string[] = [];
  const connection: Connection = {
    baseUrl: 'http://recorded.test/mlops/',
    hasServer: true,
    fetch: request => {
      const { pathname, searchParams } = new URL(request.url);
      const path = pathname.replace('/mlops/api/v1/', '');
      const file = searchParams.get('path');
      const answer = answers[file === null ? path : `${path}#${file}`];
      if (answer === undefined) {
        missed.push(`${request.method} ${path}`);
        const problem = { message: 'not recorded', error: 'NotFound', error_code: 'RESOURCE_DOES_NOT_EXIST' };
        return Promise.resolve(new Response(JSON.stringify(problem), { status: 404 }));
      }
      const body = typeof answer === 'string' ? answer : JSON.stringify(answer);
      return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'application/json' } }));
    },
    listen: () => {
      throw new Error('nothing happens on record');
    }
  };
  const host: Host = {
    kind: 'lab',
    trans: nullTranslator.load('jupyter_mlops'),
    open: vi.fn(),
    link: () => 'http://recorded.test/',
    commands: null,
    hub: null,
    confirm: () => Promise.resolve(true),
    toast: vi.fn()
  };
  const surroundings = { host, api: createApi(connection), cache: createCache(), events: new Events(connection) };
  return { shown: render(<Frame {...surroundings}>{view}</Frame>), host, missed };
}
