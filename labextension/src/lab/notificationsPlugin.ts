import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { principalQuery } from '../api';
import { IMLOpsApi, IMLOpsViews } from '../tokens';
import { Notifications, type Wanted } from './notifications';

const ID = 'jupyter-mlops:notifications';

export const notificationsPlugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Says when your runs end and when somebody mentions you.',
  autoStart: true,
  requires: [IMLOpsApi, IMLOpsViews],
  optional: [ISettingRegistry],
  activate: (
    { restored }: JupyterFrontEnd,
    { api, cache, events }: IMLOpsApi,
    { surroundings }: IMLOpsViews,
    registry: ISettingRegistry | null
  ): void => {
    const start = async (): Promise<void> => {
      await restored;
      const settings = await registry?.load(ID);
      const wanted = (): Wanted => ({
        runs: (settings?.composite.runs ?? 'all') as Wanted['runs'],
        people: (settings?.composite.people ?? true) as boolean
      });
      const { name } = await cache.query({ ...principalQuery(api), staleTime: 'static' });
      const notifications = new Notifications(surroundings.host, name);
      events.happened.connect((_, news) => notifications.tell(news, wanted()));
    };
    start().catch((error: unknown) => console.warn(`${ID}: nothing will be told`, error));
  }
};
