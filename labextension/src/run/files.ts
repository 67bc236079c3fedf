/** The bytes of a run's files. */
import { type UseQueryResult, useQuery } from '@tanstack/react-query';

import type { Api, Artifact } from '../api';
import { useApi } from '../view';

/** What of a text is shown at most, in bytes. */
export const MOST_TEXT = 1 << 20;

export function contentUrl(api: Api, runId: string, path: string): string {
  return api.url(`runs/${runId}/content`, { path });
}

/** The first `stop` bytes of a file, or all of it. */
export async function readFile(
  api: Api,
  runId: string,
  { path, digest }: Artifact,
  { stop, signal }: { readonly stop?: number; readonly signal?: AbortSignal } = {}
): Promise<Blob> {
  const query: Record<string, string> = { path };
  if (digest != null) {
    query.digest = digest;
  }
  if (stop !== undefined) {
    query.stop = String(stop);
  }
  return await (await api.ask(new Request(api.url(`runs/${runId}/content`, query), { signal: signal ?? null }))).blob();
}

/** A file as text, its first {@link MOST_TEXT} bytes unless `stop` says otherwise; null while there is no such file. */
export function useText(
  runId: string,
  file: Artifact | undefined,
  stop: number | null = MOST_TEXT
): UseQueryResult<string> {
  const api = useApi();
  return useQuery({
    queryKey: ['content', runId, file?.path, file?.digest, stop],
    queryFn: async ({ signal }) => {
      if (file === undefined) {
        throw new Error('no such file');
      }
      return await (await readFile(api, runId, file, { signal, ...(stop === null ? {} : { stop }) })).text();
    },
    enabled: file !== undefined,
    gcTime: 60_000
  });
}

/** What a text says as JSON; undefined when it is none. */
export function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}
