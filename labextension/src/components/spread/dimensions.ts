/** What runs have, one number or word a run: the axes that they are spread over. */

export interface Dimension {
  readonly id: string;
  readonly name: string;
  readonly group: 'params' | 'metrics';
  /** Of each run: a number where all that have one have a number, else a word; null where it has none. */
  readonly values: readonly (number | string | null)[];
  /** The words in their order; null for numbers. */
  readonly words: readonly string[] | null;
}

/** Where a value is on its axis: a number, or the place of a word. */
export function position({ words }: Dimension, value: number | string | null): number | null {
  return typeof value === 'string' ? (words?.indexOf(value) ?? null) : value;
}
