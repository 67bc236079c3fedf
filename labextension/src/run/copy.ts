/** A copy of a run's notebook in the user's own files, which they may trust or not. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Api } from '../api';
import { OPEN_COPY } from './commands';
import { readFile } from './files';

interface Parts {
  readonly api: Api;
  readonly documents: IDocumentManager;
  readonly trans: TranslationBundle;
}

/** Adds the command that opens such a copy; its arguments are `runId` and `path`. */
export function addOpenCopy({ commands }: JupyterFrontEnd, { api, documents, trans }: Parts): void {
  commands.addCommand(OPEN_COPY, {
    label: trans.__('Open a Copy of a Run’s Notebook'),
    describedBy: {
      args: {
        type: 'object',
        required: ['runId', 'path'],
        properties: { runId: { type: 'string' }, path: { type: 'string' } }
      }
    },
    execute: async args => {
      const { runId, path } = args as { runId: string; path: string };
      const bytes = await readFile(api, runId, { path });
      const { contents } = documents.services;
      // A new file, so that none of the user's is overwritten.
      const { path: place } = await contents.newUntitled({ type: 'notebook' });
      await contents.save(place, { type: 'notebook', format: 'json', content: JSON.parse(await bytes.text()) });
      documents.openOrReveal(place);
    }
  });
}
