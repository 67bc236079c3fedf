/** What is done to many runs at once. */
import { answered, type Api, reason } from '../api';

/** Requests under way at the same time. */
const AT_ONCE = 6;

export interface Outcome {
  readonly done: readonly string[];
  /** Why the others were refused; null when none was. */
  readonly refusal: string | null;
  readonly refused: number;
}

export function deleteRuns({ v1 }: Api, runIds: readonly string[]): Promise<Outcome> {
  return each(runIds, runId => answered(v1.DELETE('/runs/{run_id}', { params: { path: { run_id: runId } } })));
}

export function restoreRuns({ v1 }: Api, runIds: readonly string[]): Promise<Outcome> {
  return each(runIds, runId => answered(v1.POST('/runs/{run_id}/restore', { params: { path: { run_id: runId } } })));
}

export function setTag({ v1 }: Api, runIds: readonly string[], key: string, value: string): Promise<Outcome> {
  const body = { batch: { tags: [{ key, value }] } };
  return each(runIds, runId => answered(v1.POST('/runs/{run_id}/log', { params: { path: { run_id: runId } }, body })));
}

export function removeTag({ v1 }: Api, runIds: readonly string[], key: string): Promise<Outcome> {
  return each(runIds, runId =>
    answered(v1.DELETE('/runs/{run_id}/tags', { params: { path: { run_id: runId }, query: { key } } }))
  );
}

async function each(runIds: readonly string[], act: (runId: string) => Promise<unknown>): Promise<Outcome> {
  const waiting = [...runIds];
  const done: string[] = [];
  let refusal: string | null = null;
  const work = async (): Promise<void> => {
    for (let runId = waiting.pop(); runId !== undefined; runId = waiting.pop()) {
      try {
        await act(runId);
        done.push(runId);
      } catch (error) {
        refusal ??= reason(error);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { done, refusal, refused: runIds.length - done.length };
}
