/** Opens views in the main area, one widget an address, and opens them again after a reload. */
import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';

import { fromPath, type Surroundings, toPath, type ViewAddress } from '../view';
import { OPEN } from './commandIds';
import { ViewWidget } from './widgets';

export class Opener {
  private readonly _tracker = new WidgetTracker<ViewWidget>({ namespace: 'jupyter-mlops' });

  constructor(
    private readonly _shell: JupyterFrontEnd.IShell,
    private readonly _around: Surroundings
  ) {}

  /** The view that has, or had last, the focus; null when none is open. */
  get current(): ViewAddress | null {
    return this._tracker.currentWidget?.address ?? null;
  }

  open(address: ViewAddress): void {
    const path = toPath(address);
    let widget = this._tracker.find(each => toPath(each.address) === path);
    if (widget === undefined) {
      widget = new ViewWidget(this._around, address);
      this._shell.add(widget, 'main');
      void this._tracker.add(widget);
    }
    this._shell.activateById(widget.id);
  }

  /** Open what was open when the layout was saved. */
  restoreWith(restorer: ILayoutRestorer): void {
    void restorer.restore(this._tracker, {
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
