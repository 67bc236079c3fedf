import type { IOutput } from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import { Widget } from '@lumino/widgets';
import { type ReactElement, useLayoutEffect, useRef } from 'react';

import { useTrans } from '../../view';
import { renderers } from '../../components/rendered/registry';

/** Outputs by JupyterLab's renderer, not trusted. */
export default function OutputArea({ outputs }: { readonly outputs: readonly IOutput[] }): ReactElement {
  const trans = useTrans();
  const place = useRef<HTMLDivElement>(null);
  // Before React takes the element away, in which the widget must still be when it goes.
  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) {
      return;
    }
    const model = new OutputAreaModel({ trusted: false, values: [...outputs] });
    const area = new SimplifiedOutputArea({ model, rendermime: renderers() });
    Widget.attach(area, element);
    const describe = (): void => {
      for (const image of element.querySelectorAll('img:not([alt])')) {
        image.setAttribute('alt', trans.__('Image without a description'));
      }
    };
    // Renderers work when they like, and say nothing when they are done.
    const watch = new MutationObserver(describe);
    watch.observe(element, { childList: true, subtree: true });
    describe();
    return () => {
      watch.disconnect();
      area.dispose();
      model.dispose();
    };
  }, [outputs, trans]);
  return <div ref={place} className="jp-mlops-rendered" />;
}
