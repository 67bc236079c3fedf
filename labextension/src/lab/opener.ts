/** Opens views in the main area, one widget an address, and opens them again after a reload. */
import type { ILabShell, ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';

import { fromPath, type Surroundings, toPath, type ViewAddress } from '../view';
import { ViewWidget } from './widgets';

/** Shows the view whose path is the argument `path`. */
export const OPEN = 'mlops:open';

export class Opener {
  readonly tracker = new WidgetTracker<ViewWidget>({ namespace: 'jupyter-mlops' });

  constructor(
    private readonly _shell: JupyterFrontEnd.IShell | ILabShell,
    private readonly _around: () => Surroundings
  ) {}

  open(address: ViewAddress): void {
    const path = toPath(address);
    let widget = this.tracker.find(each => toPath(each.address) === path);
    if (widget === undefined) {
      widget = new ViewWidget(this._around(), address);
      this._shell.add(widget, 'main');
      void this.tracker.add(widget);
    }
    this._shell.activateById(widget.id);
  }

  /** Open what was open when the layout was saved. */
  restoreWith(restorer: ILayoutRestorer): void {
    void restorer.restore(this.tracker, {
      command: OPEN,
      args: widget => ({ path: toPath(widget.address) }),
      name: widget => toPath(widget.address)
    });
  }

  /** Open what a URL asks for with `?mlops=PATH`. */
  openAsked(search: string): void {
    const address = fromPath(new URLSearchParams(search).get('mlops') ?? '');
    if (address !== null) {
      this.open(address);
    }
  }
}
