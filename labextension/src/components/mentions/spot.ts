/** Which name is being typed in a text: the grammar is the server's. */

const BEGUN = /(?<![\w.@+-])@((?:[A-Za-z0-9][\w.+@-]*)?)$/;
const REST = /^[\w.+@-]*/;
const MOST = 8;

export interface Spot {
  /** The characters to replace: the name with its @. */
  readonly from: number;
  readonly to: number;
  /** Of the name, before the cursor. */
  readonly typed: string;
}

/** The mention that the cursor is in; null where it is in none. */
export function mentionAt(text: string, cursor: number): Spot | null {
  const [whole, typed = ''] = BEGUN.exec(text.slice(0, cursor)) ?? [];
  if (whole === undefined) {
    return null;
  }
  const [rest = ''] = REST.exec(text.slice(cursor)) ?? [];
  return { from: cursor - whole.length, to: cursor + rest.length, typed };
}

/** The names that fit, those first that begin so. One that is typed in full needs no completion. */
export function fitting(names: readonly string[], typed: string): string[] {
  const wanted = typed.toLowerCase();
  const found = [...new Set(names)].filter(name => name !== typed && name.toLowerCase().includes(wanted));
  const rank = (name: string): number => Number(!name.toLowerCase().startsWith(wanted));
  return found.sort((one, other) => rank(one) - rank(other) || one.localeCompare(other)).slice(0, MOST);
}
