/** The commands that other extensions can call. */

/** Shows the view whose path is the argument `path`, such as `runs/<id>`. */
export const OPEN = 'mlops:open';
/**
 * Opens the form that runs the notebook at `path`, of the one in front when absent; with `start: true` runs it at once.
 * Further arguments are fields of the request, such as `parameters` and `experiment`.
 */
export const RUN = 'mlops:run-notebook';
/** Cancels the run or sweep `runId`, without a question when `isSure` is true. */
export const CANCEL = 'mlops:cancel-run';
/** Does the submitted run or sweep `runId` again as it was. */
export const RETRY = 'mlops:retry-run';
/** Does the run `runId` again, also one that was not submitted from this server. */
export const RERUN = 'mlops:rerun';
/** Opens the form with what the run `runId` was begun with. */
export const RERUN_WITH_EDITS = 'mlops:rerun-with-edits';
/** Puts a `parameters` cell into the notebook at `path`, of the one in front when absent. */
export const INSERT_CELL = 'mlops:insert-parameters-cell';
/** Copies the link of the view in front. */
export const COPY_LINK = 'mlops:copy-link';
/** Shows or hides the sidebar. */
export const TOGGLE_SIDEBAR = 'mlops:toggle-sidebar';
