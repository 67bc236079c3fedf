/** Comma-separated values (RFC 4180). */

/** The first rows of a text. Quoted fields may hold separators and line ends. */
export function rowsOf(text: string, separator: string, most: number): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = '';
  let isQuoted = false;
  for (let at = 0; at < text.length && rows.length < most; at += 1) {
    const sign = text[at] ?? '';
    if (isQuoted) {
      if (sign !== '"') {
        field += sign;
      } else if (text[at + 1] === '"') {
        field += '"';
        at += 1;
      } else {
        isQuoted = false;
      }
    } else if (sign === '"' && field === '') {
      isQuoted = true;
    } else if (sign === separator) {
      row.push(field);
      field = '';
    } else if (sign === '\n') {
      rows.push([...row, field.replace(/\r$/, '')]);
      row = [];
      field = '';
    } else {
      field += sign;
    }
  }
  if (rows.length < most && (field !== '' || row.length > 0)) {
    rows.push([...row, field]);
  }
  return rows;
}
