/** How runs are shown, and in which columns: what the user chose, else what tells the runs apart. */
import type { RunsLook } from '../view';
import { type Gathered, isSystems } from './fields';

/** Attributes in the order of their columns; the first stays in view. */
export const ATTRIBUTES = ['name', 'status', 'user', 'start_time', 'duration', 'source', 'remarks', 'kind', 'run_id'] as const;
export type AttributeName = (typeof ATTRIBUTES)[number];

const SHOWN_ATTRIBUTES: ReadonlySet<string> = new Set<AttributeName>([
  'name',
  'status',
  'user',
  'start_time',
  'duration',
  'source',
  'remarks'
]);
const MOST_PARAMS = 8;
const MOST_METRICS = 8;

/** What the user said of the table. Columns, by id, that they said nothing about follow the runs. */
export interface Choice {
  readonly shown: Readonly<Record<string, boolean>>;
  /** Pixels. */
  readonly widths: Readonly<Record<string, number>>;
  readonly filter: string;
  /** A clause such as `metrics.auc DESC`; empty is newest first. */
  readonly order: string;
  readonly look: RunsLook;
}

export const NO_CHOICE: Choice = { shown: {}, widths: {}, filter: '', order: '', look: 'table' };

/** The ids of the parameters', metrics' and tags' columns to show, in their order. */
export function chosen(gathered: Gathered, { shown }: Choice): string[] {
  const all = [...gathered.facts.entries()];
  const of = (kind: string): [string, boolean][] =>
    all
      .filter(([, each]) => each.kind === kind)
      .sort(([, one], [, other]) => other.count - one.count)
      .map(([id, each]) => [id, !isSystems(each.kind, each.key) && !isConstant(id, gathered)]);
  const first = (fields: [string, boolean][], most: number): string[] => {
    let left = most;
    return fields
      .filter(([id, isTelling]) => shown[id] ?? (isTelling && left-- > 0))
      .map(([id]) => id);
  };
  return [...first(of('params'), MOST_PARAMS), ...first(of('metrics'), MOST_METRICS), ...first(of('tags'), 0)];
}

/** Whether an attribute's column is shown. */
export function showsAttribute(name: AttributeName, { shown }: Choice): boolean {
  return name === 'name' || (shown[`attributes.${name}`] ?? SHOWN_ATTRIBUTES.has(name));
}

/** The same in all of several runs: said once, above the table. */
export function isConstant(id: string, { facts, runs }: Gathered): boolean {
  const each = facts.get(id);
  return runs > 1 && each !== undefined && !each.isVaried && each.count === runs;
}
