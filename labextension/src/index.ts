/** The plugins of JupyterLab and Jupyter Notebook. */
import '../src/style/index.css';
import { runningPlugin } from './commands/plugin';
import { apiPlugin } from './lab/apiPlugin';
import { notificationsPlugin } from './lab/notificationsPlugin';
import { sidebarPlugin } from './lab/sidebarPlugin';
import { viewsPlugin } from './lab/viewsPlugin';
import { runPage } from './run/plugin';

export * from './tokens';

export default [apiPlugin, viewsPlugin, sidebarPlugin, notificationsPlugin, runningPlugin, runPage];
