import type { ReactElement } from 'react';

import type { RegistryAddress } from '../view';
import { Model } from './Model';
import { Models } from './Models';

/** All registered models, or one. */
export function RegistryView({ model }: RegistryAddress): ReactElement {
  return model === undefined ? <Models /> : <Model key={model} name={model} />;
}
