/** What the page of a run adds to JupyterLab. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IMLOpsApi } from '../tokens';
import { addOpenCopy } from './copy';

export const runPage: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-mlops:run-page',
  description: 'Opens copies of the notebooks of runs.',
  autoStart: true,
  requires: [IMLOpsApi, IDocumentManager],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    { api }: IMLOpsApi,
    documents: IDocumentManager,
    translator: ITranslator | null
  ): void => {
    addOpenCopy(app, { api, documents, trans: (translator ?? nullTranslator).load('jupyter_mlops') });
  }
};
