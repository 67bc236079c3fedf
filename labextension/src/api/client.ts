/** Typed requests. An answer is what was asked for, or an ApiError with the sentence that the server gave. */
import createClient, { type Client } from 'openapi-fetch';

import type { Connection } from './connection';
import type { Problem } from './records';
import type { paths } from './schema';
import type { paths as serverPaths } from './server';

/** Why a request was not granted. `message` is for people: what is wrong, and what would be right. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    message: string,
    /** HTTP's; 0 when nothing answered. */
    readonly status: number,
    /** The error's class on the server, such as `NotFound`; empty when it was none of ours. */
    readonly kind = '',
    readonly requestId = ''
  ) {
    super(message);
  }

  /** Nothing of ours answers there: the server extension is not installed, or not enabled. */
  get isMissing(): boolean {
    return this.status === 404 && this.kind === '';
  }

  /** The same request may succeed later. */
  get isTemporary(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export interface Api {
  readonly connection: Connection;
  /** `api/v1/`: experiments, runs, artifacts, models, promotions. */
  readonly v1: Client<paths>;
  /** `server/v1/`: what a Jupyter server has besides. */
  readonly server: Client<serverPaths>;
  /** A request for bytes; refusals are thrown as of the others. */
  ask(request: Request): Promise<Response>;
  /** The URL of bytes, such as `url('runs/…/content', {path})`. */
  url(path: string, query?: Record<string, string>): string;
}

export function createApi(connection: Connection): Api {
  const ask = async (request: Request): Promise<Response> => {
    let response: Response;
    try {
      response = await connection.fetch(request);
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') {
        throw error;
      }
      throw new ApiError(`the server does not answer (${reason(error)})`, 0);
    }
    if (!response.ok) {
      throw await refusal(response);
    }
    return response;
  };
  return {
    connection,
    ask,
    v1: createClient<paths>({ baseUrl: `${connection.baseUrl}api/v1`, fetch: ask }),
    server: createClient<serverPaths>({ baseUrl: `${connection.baseUrl}server/v1`, fetch: ask }),
    url: (path, query = {}) => {
      const search = new URLSearchParams(query).toString();
      return `${connection.baseUrl}api/v1/${path}${search && `?${search}`}`;
    }
  };
}

/** What a request was answered with; refusals have been thrown already. */
export async function answered<T>(asked: Promise<{ data?: T }>): Promise<T> {
  return (await asked).data as T;
}

/** A sentence about any error, for people. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const told = JSON.parse(text) as Partial<Problem>;
    if (typeof told.message === 'string' && told.message !== '') {
      const requestId = told.request_id ?? '';
      // What a person cannot put right themselves, an administrator finds in the log by it.
      const found = response.status >= 500 && requestId !== '' ? ` (request id: ${requestId})` : '';
      return new ApiError(told.message + found, response.status, told.error ?? '', requestId);
    }
  } catch {
    // A proxy's page, or another program's.
  }
  return new ApiError(`the server answered ${response.status} ${response.statusText}`.trim(), response.status);
}
