/** Commands of JupyterLab that the page of a run calls. */

/** Runs the run's notebook again with its parameters, or with others; the argument is `runId`. */
export const RERUN = 'mlops:rerun';
export const RERUN_WITH_EDITS = 'mlops:rerun-with-edits';
/** Opens a copy of a notebook of the run; the arguments are `runId` and `path`. */
export const OPEN_COPY = 'mlops:open-copy';
