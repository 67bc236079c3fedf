/** Trees of components as widgets of JupyterLab. */
import { MainAreaWidget, ReactWidget } from '@jupyterlab/apputils';
import type { ReactElement } from 'react';

import { Sidebar } from '../sidebar';
import { Frame, type Surroundings, toPath, View, type ViewAddress } from '../view';
import { mlopsIcon } from './icon';

export class SidebarWidget extends ReactWidget {
  constructor(private readonly _around: Surroundings) {
    super();
    this.id = 'jp-mlops-sidebar';
    this.title.icon = mlopsIcon;
    this.title.caption = _around.host.trans.__('Experiments and models');
    this.addClass('jp-mlops');
  }

  protected override render(): ReactElement {
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
    super({ content: new ViewContent(around, address) });
    this.id = `jp-mlops-${toPath(address)}`;
    this.title.icon = mlopsIcon;
    this.title.label = around.host.trans.__('Experiments and models');
    this.title.closable = true;
  }

  get address(): ViewAddress {
    return this.content.address;
  }
}

class ViewContent extends ReactWidget {
  constructor(
    private readonly _around: Surroundings,
    readonly address: ViewAddress
  ) {
    super();
    this.addClass('jp-mlops');
    this.addClass('jp-mlops-view');
  }

  protected override render(): ReactElement {
    return (
      <Frame {...this._around}>
        <View address={this.address} />
      </Frame>
    );
  }
}
