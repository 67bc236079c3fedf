/** What views have around them in tests: a server that answers as it is told, and a host that remembers. */
import { nullTranslator } from '@jupyterlab/translation';
import { render, type RenderResult } from '@testing-library/react';
import type { ReactElement } from 'react';
import { vi } from 'vitest';

import { type Connection, createApi, createCache, Events } from '../api';
import { Frame, type Host, type ViewAddress } from '../view';

/** By method and path below the base, such as `GET api/v1/principal`: a body of status 200, or a whole response. */
export type Answers = Record<string, unknown>;

export const BASE = 'http://localhost/user/ada/mlops/';

export interface Asked {
  readonly what: string;
  readonly body: unknown;
}

export class FakeServer implements Connection {
  readonly baseUrl = BASE;
  readonly hasServer = true;
  readonly asked: Asked[] = [];
  readonly socket = { close: vi.fn() } as unknown as WebSocket;

  constructor(readonly answers: Answers) {}

  async fetch(request: Request): Promise<Response> {
    const what = `${request.method} ${new URL(request.url).pathname.slice(new URL(BASE).pathname.length)}`;
    const text = await request.text();
    this.asked.push({ what, body: text === '' ? undefined : JSON.parse(text) });
    const answer = this.answers[what];
    if (answer instanceof Response) {
      return answer.clone();
    }
    return answer === undefined ? Response.json({ message: 'Not Found' }, { status: 404 }) : Response.json(answer);
  }

  listen(): WebSocket {
    return this.socket;
  }
}

export function fakeHost(): Host & { opened: ViewAddress[] } {
  const opened: ViewAddress[] = [];
  return {
    kind: 'lab',
    trans: nullTranslator.load('jupyter_mlops'),
    opened,
    open: address => void opened.push(address),
    link: () => 'http://localhost/link',
    hub: null,
    commands: { has: () => true, execute: vi.fn(() => Promise.resolve()) },
    confirm: vi.fn(() => Promise.resolve(true)),
    toast: vi.fn()
  };
}

export function show(element: ReactElement, server: FakeServer, host: Host = fakeHost()): RenderResult {
  return render(
    <Frame host={host} api={createApi(server)} cache={createCache()} events={new Events(server)}>
      {element}
    </Frame>
  );
}
