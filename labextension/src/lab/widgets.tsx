/** Trees of components as widgets of JupyterLab. */
import { MainAreaWidget, ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import type { ReactElement } from 'react';

import { askAhead, Sidebar } from '../sidebar';
import { Frame, type Surroundings, TitleContext, toPath, View, type ViewAddress } from '../view';
import { mlopsIcon } from './icon';

export class SidebarWidget extends ReactWidget {
  private _wasShown = false;

  constructor(private readonly _around: Surroundings) {
    super();
    this.id = 'jp-mlops-sidebar';
    this.title.icon = mlopsIcon;
    this.title.caption = _around.host.trans.__('Experiments and models');
    this.addClass('jp-mlops');
  }

  /** Asks nothing of the server before it is first seen. */
  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    if (!this._wasShown) {
      this._wasShown = true;
      askAhead(this._around);
      this.update();
    }
  }

  protected override render(): ReactElement | null {
    if (!this._wasShown && !this.isVisible) {
      return null;
    }
    return (
      <Frame {...this._around}>
        <Sidebar />
      </Frame>
    );
  }
}

/** A view in the main area. */
export class ViewWidget extends MainAreaWidget<ViewContent> {
  constructor(around: Surroundings, address: ViewAddress) {
    super({ content: new ViewContent(around, address, title => (this.title.label = title)) });
    this.id = `jp-mlops-${toPath(address)}`;
    this.title.icon = mlopsIcon;
    this.title.label = firstTitle(around.host.trans, address);
    this.title.closable = true;
  }

  get address(): ViewAddress {
    return this.content.address;
  }
}

/** What a view is called until it says it itself. */
function firstTitle(trans: TranslationBundle, address: ViewAddress): string {
  switch (address.view) {
    case 'runs':
      return trans.__('Runs');
    case 'run':
      return trans.__('Run');
    case 'compare':
      return trans._n('Compare %1 run', 'Compare %1 runs', address.runIds.length);
    case 'registry':
      return address.model ?? trans.__('Models');
    case 'review':
      return trans.__('Promotion');
    case 'tokens':
      return trans.__('Access tokens');
  }
}

class ViewContent extends ReactWidget {
  constructor(
    private readonly _around: Surroundings,
    readonly address: ViewAddress,
    private readonly _setTitle: (title: string) => void
  ) {
    super();
    this.addClass('jp-mlops');
    this.addClass('jp-mlops-view');
  }

  protected override render(): ReactElement {
    return (
      <Frame {...this._around}>
        <TitleContext.Provider value={this._setTitle}>
          <View address={this.address} />
        </TitleContext.Provider>
      </Frame>
    );
  }
}
