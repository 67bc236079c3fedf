/** What is read of a notebook: only what is shown, and nothing taken on trust. */
import type { IOutput } from '@jupyterlab/nbformat';

export interface Cell {
  readonly kind: 'code' | 'markdown' | 'raw';
  readonly source: string;
  readonly count: number | null;
  readonly outputs: readonly IOutput[];
}

export interface Document {
  readonly language: string;
  readonly cells: readonly Cell[];
}

/** The notebook that a JSON value is; null when it is none of format 4. */
export function documentOf(value: unknown): Document | null {
  const notebook = fields(value);
  if (notebook === null || !Array.isArray(notebook.cells)) {
    return null;
  }
  const metadata = fields(notebook.metadata) ?? {};
  const language = fields(metadata.language_info)?.name ?? fields(metadata.kernelspec)?.language;
  return {
    language: typeof language === 'string' ? language : 'python',
    cells: notebook.cells.map(cellOf).filter(cell => cell !== null)
  };
}

function cellOf(value: unknown): Cell | null {
  const cell = fields(value);
  if (cell === null) {
    return null;
  }
  const kind = cell.cell_type;
  const count = cell.execution_count;
  const outputs: unknown[] = Array.isArray(cell.outputs) ? cell.outputs : [];
  return {
    kind: kind === 'code' || kind === 'markdown' ? kind : 'raw',
    source: joined(cell.source),
    count: typeof count === 'number' ? count : null,
    outputs: outputs.filter(isOutput)
  };
}

const OUTPUTS = ['stream', 'display_data', 'execute_result', 'error'];

function isOutput(value: unknown): value is IOutput {
  return OUTPUTS.includes(fields(value)?.output_type as string);
}

/** Types that are shown without running anything of theirs. */
const SHOWN = /^(text\/(plain|html|markdown)|image\/(png|jpeg|gif|webp|bmp)|application\/vnd\.jupyter\.(stdout|stderr|error))$/;
const SCRIPT = /<(script|iframe|object|embed|svg|form|link|meta)\b|\son[a-z]+\s*=|javascript:/i;

/** The types of what an output has that only a trusted notebook shows. */
export function withheld({ output_type, data }: IOutput): readonly string[] {
  const bundle = output_type === 'display_data' || output_type === 'execute_result' ? fields(data) : null;
  if (bundle === null) {
    return [];
  }
  return Object.entries(bundle)
    .filter(([type, content]) => !SHOWN.test(type) || (type === 'text/html' && SCRIPT.test(joined(content))))
    .map(([type]) => type);
}

/** A text that notebooks may have as a list of lines. */
export function joined(text: unknown): string {
  return Array.isArray(text) ? text.filter(line => typeof line === 'string').join('') : typeof text === 'string' ? text : '';
}

function fields(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
}
