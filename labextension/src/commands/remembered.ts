/** What stood in the form when a notebook was last run from here. */
import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONValue } from '@lumino/coreutils';

import type { Draft } from '../runform/draft';

const PREFIX = 'jupyter-mlops:runform:';

export class Remembered {
  constructor(private readonly _state: IStateDB | null) {}

  async of(path: string): Promise<Draft | undefined> {
    return (await this._state?.fetch(PREFIX + path)) as Draft | undefined;
  }

  async keep(path: string, draft: Draft): Promise<void> {
    await this._state?.save(PREFIX + path, draft as unknown as ReadonlyPartialJSONValue);
  }
}
