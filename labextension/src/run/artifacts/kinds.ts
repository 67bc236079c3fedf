/** How a file is looked into, by the end of its name. */

export type Kind = 'image' | 'table' | 'json' | 'markdown' | 'notebook' | 'text';

/** What images are shown as. SVG is none of them: it can run scripts. */
const IMAGES: ReadonlyMap<string, string> = new Map([
  ['bmp', 'image/bmp'],
  ['gif', 'image/gif'],
  ['jpeg', 'image/jpeg'],
  ['jpg', 'image/jpeg'],
  ['png', 'image/png'],
  ['webp', 'image/webp']
]);

const OTHERS: ReadonlyMap<string, Kind> = new Map([
  ['csv', 'table'],
  ['tsv', 'table'],
  ['json', 'json'],
  ['ipynb', 'notebook'],
  ['md', 'markdown']
]);

export function kindOf(path: string): Kind {
  const ending = endingOf(path);
  return IMAGES.has(ending) ? 'image' : (OTHERS.get(ending) ?? 'text');
}

/** The type that the bytes of an image are shown as, whatever they are. */
export function imageType(path: string): string | undefined {
  return IMAGES.get(endingOf(path));
}

function endingOf(path: string): string {
  return /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
}
