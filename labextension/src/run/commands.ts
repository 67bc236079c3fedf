/** A command of JupyterLab that the page of a run calls: opens a copy of a notebook of the run; the arguments are `runId`
and `path`. */
export const OPEN_COPY = 'mlops:open-copy';
