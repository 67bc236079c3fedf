/** What views have around them in tests: a server that answers as it is told, and a host that remembers. */
import { nullTranslator } from '@jupyterlab/translation';
import { render, type RenderResult } from '@testing-library/react';
import type { ReactElement } from 'react';
import { vi } from 'vitest';

import { type Connection, createApi, createCache, Events } from '../api';
import { Frame, type Host, type ViewAddress } from '../view';

/**
 * By method and path below the base, such as `GET api/v1/principal`, and for a file of a run `#PATH` behind it: what
 * becomes the JSON of an answer with status 200, text as it is, or a whole response; or a function that gives one of them
 * for the body of the request.
 */
export type Answers = Readonly<Record<string, unknown>>;

export const BASE = 'http://localhost/user/ada/mlops/';

export interface Asked {
  readonly what: string;
  readonly body: unknown;
}

export class FakeServer implements Connection {
  readonly baseUrl = BASE;
  readonly asked: Asked[] = [];
  /** What was asked for that has no answer. */
  readonly missed: string[] = [];
  readonly socket = { close: vi.fn() } as unknown as WebSocket;

  /** `hasServer`: as a Jupyter server's; otherwise as the service's page has it. */
  constructor(
    readonly answers: Answers,
    readonly hasServer = true
  ) {}

  async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const what = `${request.method} ${pathname.slice(new URL(BASE).pathname.length)}`;
    const file = searchParams.get('path');
    const text = await request.text();
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    this.asked.push({ what, body });
    const known = this.answers[file === null ? what : `${what}#${file}`];
    const answer: unknown = typeof known === 'function' ? (known as (body: unknown) => unknown)(body) : known;
    if (answer instanceof Response) {
      return answer.clone();
    }
    if (answer === undefined) {
      this.missed.push(what);
      return Response.json({ message: 'Not Found' }, { status: 404 });
    }
    return typeof answer === 'string' ? new Response(answer) : Response.json(answer);
  }

  /** The bodies of the requests for `what`, in their order. */
  bodies(what: string): unknown[] {
    return this.asked.filter(each => each.what === what).map(each => each.body);
  }

  listen(): WebSocket {
    return this.socket;
  }
}

export function fakeHost(other: Partial<Host> = {}): Host & { opened: ViewAddress[] } {
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
    toast: vi.fn(),
    ...other
  };
}

export function show(element: ReactElement, server: FakeServer, host: Host = fakeHost()): RenderResult {
  return render(
    <Frame host={host} api={createApi(server)} cache={createCache()} events={new Events(server)}>
      {element}
    </Frame>
  );
}
