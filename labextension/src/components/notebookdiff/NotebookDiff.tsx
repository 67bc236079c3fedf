/** How the code of two notebooks differs, by nbdime's own rendering. Heavy: to be loaded lazily. */
import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';
import 'nbdime/lib/common/collapsible.css';
import { NotebookDiffModel } from 'nbdime/lib/diff/model';
import { NotebookDiffWidget } from 'nbdime/lib/diff/widget';
import 'nbdime/lib/styles/common.css';
import 'nbdime/lib/styles/diff.css';
import 'nbdime/lib/styles/variables.css';
import 'nbdime/lib/upstreaming/flexpanel.css';
import { type ReactElement, useEffect, useRef } from 'react';

type Base = ConstructorParameters<typeof NotebookDiffModel>[0];
type Steps = ConstructorParameters<typeof NotebookDiffModel>[1];

interface Props {
  /** A notebook with cells' types and sources only. */
  readonly base: unknown;
  /** In nbdime's diff format. */
  readonly diff: unknown;
  readonly label: string;
}

export function NotebookDiff({ base, diff, label }: Props): ReactElement {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (element === null) {
      return;
    }
    const rendermime = new RenderMimeRegistry({ initialFactories: standardRendererFactories });
    const model = new NotebookDiffModel(base as Base, diff as Steps);
    const widget = new NotebookDiffWidget({ model, rendermime, collapseIdentical: true });
    widget.addClass('nbdime-root');
    Widget.attach(widget, element);
    void widget.init();
    return () => {
      widget.dispose();
    };
  }, [base, diff]);
  return <div ref={place} className="jp-mlops-notebook-diff" role="group" aria-label={label} />;
}
