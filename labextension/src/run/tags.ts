/** Tags and metrics with a meaning of their own. */
import type { Run } from '../api';

export const NOTES_TAG = 'mlflow.note.content';
/** On a rerun: the id of the run whose notebook and parameters it took. */
export const RERUN_TAG = 'mlops.rerun.of';
export const KERNEL_TAG = 'mlops.kernel';
export const COMMIT_TAG = 'mlops.git.commit';
export const DIRTY_TAG = 'mlops.git.dirty';
export const NOTICE_TAG = 'mlops.notice';

/** What metrics of the machine begin with; they are shown with the environment. */
export const SYSTEM = 'system/';

export function tag(run: Run, key: string): string | undefined {
  return run.tags?.find(each => each.key === key)?.value;
}

/** The tags that people have set. */
export function ownTags(run: Run): readonly { readonly key: string; readonly value: string }[] {
  return (run.tags ?? []).filter(({ key }) => !key.startsWith('mlops.') && !key.startsWith('mlflow.'));
}
