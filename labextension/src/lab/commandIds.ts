/** The commands that other extensions can call. */

/** Shows the view whose path is the argument `path`, such as `runs/<id>`. */
export const OPEN = 'mlops:open';
/** Opens the form that runs the notebook in front, or that of the argument `path`. */
export const RUN = 'mlops:run-notebook';
/** Copies the link of the view in front. */
export const COPY_LINK = 'mlops:copy-link';
/** Shows or hides the sidebar. */
export const TOGGLE_SIDEBAR = 'mlops:toggle-sidebar';
