/** The service's page: the same views, by the path of the URL. */
import { nullTranslator } from '@jupyterlab/translation';
import { createRoot } from 'react-dom/client';

import '../../src/style/page.css';
import { createApi, createCache, Events, follow, serviceConnection } from '../api';
import { Frame } from '../view';
import { pageHost } from './host';
import { Notices } from './notices';
import { Router } from './Router';
import { Shell } from './Shell';
import { ShownNotices } from './ShownNotices';

const element = document.getElementById('mlops-page');
if (element !== null) {
  const { base = '/', hub, notice = '' } = element.dataset;
  const connection = serviceConnection(base);
  const events = new Events(connection);
  const cache = createCache();
  follow(cache, events);
  events.start();
  const trans = nullTranslator.load('jupyter_mlops');
  const notices = new Notices();
  const home = hub === undefined ? null : new URL(hub, window.location.href).href;
  createRoot(element).render(
    <Frame host={pageHost({ trans, base, hub: home, notices })} api={createApi(connection)} cache={cache} events={events}>
      <Shell notice={notice}>
        <Router base={base} />
      </Shell>
      <ShownNotices notices={notices} />
    </Frame>
  );
}
