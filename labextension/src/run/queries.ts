/** What the page of a run asks for. */
import { keepPreviousData, type UseQueryResult, useQuery } from '@tanstack/react-query';

import { type Artifact, answered, type Experiment, type ModelVersion, type Run, type RunComment } from '../api';
import type { Point, Range } from '../components/chart';
import { useApi } from '../view';
import { RERUN_TAG } from './tags';

export function useRun(runId: string | null | undefined): UseQueryResult<Run> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['run', runId],
    queryFn: () => answered(v1.GET('/runs/{run_id}', { params: { path: { run_id: runId ?? '' } } })),
    enabled: runId != null
  });
}

export function useExperiment(experimentId: string): UseQueryResult<Experiment> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['experiment', experimentId],
    queryFn: () =>
      answered(v1.GET('/experiments/{experiment_id}', { params: { path: { experiment_id: experimentId } } }))
  });
}

export function useComments(runId: string): UseQueryResult<readonly RunComment[]> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['run', runId, 'comments'],
    queryFn: () => answered(v1.GET('/runs/{run_id}/comments', { params: { path: { run_id: runId } } }))
  });
}

/** All files of a run, by path. */
export function useFiles(runId: string): UseQueryResult<readonly Artifact[]> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['run', runId, 'files'],
    queryFn: () => answered(v1.GET('/runs/{run_id}/files', { params: { path: { run_id: runId } } }))
  });
}

export function useChildren(runId: string): UseQueryResult<readonly Run[]> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['runs', 'children', runId],
    queryFn: () => answered(v1.GET('/runs/{run_id}/children', { params: { path: { run_id: runId } } }))
  });
}

/** The runs that ran this one's notebook again, the newest first. */
export function useReruns(runId: string): UseQueryResult<readonly Run[]> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['runs', 'reruns', runId],
    queryFn: async () => {
      const filter = `tags.\`${RERUN_TAG}\` = '${runId}'`;
      return (await answered(v1.POST('/search/runs', { body: { filter, limit: 100 } }))).items;
    }
  });
}

/** The versions of models that were registered from a run. */
export function useVersions(runId: string): UseQueryResult<readonly ModelVersion[]> {
  const { v1 } = useApi();
  return useQuery({
    queryKey: ['models', 'of run', runId],
    queryFn: async () => {
      const filter = `run_id = '${runId}'`;
      return (await answered(v1.POST('/search/versions', { body: { filter, limit: 100 } }))).items;
    }
  });
}

interface Sampling {
  readonly runId: string;
  readonly metric: string;
  /** How many points there are: with more of them, the answer is another. */
  readonly count: number;
  /** Pixels, about. */
  readonly width: number;
  readonly range?: Range | null;
}

/** A metric's points, as many as a chart can show; of some steps, if `range` is given. */
export function useSamples({ runId, metric, count, width, range }: Sampling): UseQueryResult<readonly Point[]> {
  const { v1 } = useApi();
  return useQuery({
    // Of no noun that events make old: a long history is read again when it has grown, and not for a comment.
    queryKey: ['samples', runId, metric, width, range ?? null, count],
    queryFn: ({ signal }) =>
      answered(
        v1.GET('/runs/{run_id}/sampled', {
          params: { path: { run_id: runId }, query: { key: metric, width, ...range } },
          signal
        })
      ),
    placeholderData: keepPreviousData,
    gcTime: 60_000,
    enabled: range !== null
  });
}
