import type { ReactElement } from 'react';

import { useTrans } from '../view/host';

const GROUP = 'group:';

/** A user's name, or a group's. */
export function Owner({ owner }: { readonly owner: string }): ReactElement {
  const trans = useTrans();
  return owner.startsWith(GROUP) ? (
    <span className="jp-mlops-owner" title={trans.__('Group %1', owner.slice(GROUP.length))}>
      {owner.slice(GROUP.length)}
    </span>
  ) : (
    <span className="jp-mlops-owner" title={trans.__('User %1', owner)}>
      {owner}
    </span>
  );
}
