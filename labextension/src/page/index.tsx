/** The service's page: the same views, by the path of the URL. */
import { nullTranslator } from '@jupyterlab/translation';
import { createRoot } from 'react-dom/client';

import '../../src/style/index.css';
import { createApi, createCache, Events, follow, serviceConnection } from '../api';
import { Frame } from '../view';
import { pageHost } from './host';
import { Router } from './Router';

const element = document.getElementById('mlops-page');
if (element !== null) {
  const base = element.dataset.base ?? '/';
  const connection = serviceConnection(base);
  const events = new Events(connection);
  const cache = createCache();
  follow(cache, events);
  events.start();
  const trans = nullTranslator.load('jupyter_mlops');
  createRoot(element).render(
    <Frame host={pageHost(trans, base)} api={createApi(connection)} cache={cache} events={events}>
      <Router base={base} />
    </Frame>
  );
}
