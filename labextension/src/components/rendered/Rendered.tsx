import { MimeModel } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';
import { type ReactElement, useLayoutEffect, useRef } from 'react';

import { renderers } from './registry';

interface Props {
  readonly mimeType: string;
  readonly content: string;
}

/** Content of one type by JupyterLab's renderer, not trusted. */
export default function Rendered({ mimeType, content }: Props): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  // Before React takes the element away, in which the widget must still be when it goes.
  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) {
      return;
    }
    const renderer = renderers().createRenderer(mimeType);
    Widget.attach(renderer, element);
    void renderer.renderModel(new MimeModel({ trusted: false, data: { [mimeType]: content } }));
    return () => renderer.dispose();
  }, [mimeType, content]);
  // Wide tables and code scroll in it, by the keyboard, too.
  return <div ref={place} className="jp-mlops-rendered" tabIndex={0} />;
}
