/** Which notebook a command is about, and what is done with it before it runs. */
import type { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog, type IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { type INotebookTracker, type NotebookPanel, NotebookPanel as Panel } from '@jupyterlab/notebook';

const TAG = 'parameters';
const FIRST = '# Each name with its default. The comment behind it is shown in the run form.\n';

export class Notebooks {
  constructor(
    private readonly _documents: IDocumentManager,
    private readonly _open: INotebookTracker | null,
    private readonly _browsers: IFileBrowserFactory | null
  ) {}

  /** The path of the notebook that the user looks at; null when it is none. */
  current(): string | null {
    return this._open?.currentWidget?.context.path ?? null;
  }

  /** The path of the notebook that is selected in the file browser. */
  selected(): string | null {
    for (const item of this._browsers?.tracker.currentWidget?.selectedItems() ?? []) {
      if (item.type === 'notebook') {
        return item.path;
      }
    }
    return null;
  }

  /** Let the user choose one; null when they do not. */
  async choose(title: string, folder?: string): Promise<string | null> {
    const { button, value } = await FileDialog.getOpenFiles({
      manager: this._documents,
      title,
      defaultPath: folder,
      filter: model => (model.type === 'notebook' || model.type === 'directory' ? {} : null)
    });
    return button.accept ? ((value ?? []).find(model => model.type === 'notebook')?.path ?? null) : null;
  }

  /** Save the notebook where it is open and has changes. */
  async save(path: string): Promise<void> {
    const panel = this._documents.findWidget(path);
    if (panel?.context.model.dirty === true) {
      await panel.context.save();
    }
  }

  /** Put a `parameters` cell before all others, and show it. */
  async insertParametersCell(path: string): Promise<void> {
    const panel = this._documents.openOrReveal(path) as NotebookPanel | undefined;
    if (!(panel instanceof Panel)) {
      return;
    }
    await panel.context.ready;
    const notebook = panel.content;
    notebook.model?.sharedModel.insertCell(0, { cell_type: 'code', source: FIRST, metadata: { tags: [TAG] } });
    notebook.activeCellIndex = 0;
    notebook.mode = 'edit';
    await notebook.scrollToItem(0);
  }
}
