/** How the runs of a table, or of a comparison, are found without the panel. */

export interface Code {
  readonly python: string;
  readonly magic: string;
  readonly cli: string;
}

interface Found {
  readonly experimentId: string;
  readonly filter: string;
  /** Such as `metrics.auc DESC`; empty is newest first. */
  readonly order: string;
}

export function codeOfSearch({ experimentId, filter, order }: Found): Code {
  const conditions = [`experiment_id = '${experimentId}'`, ...(filter === '' ? [] : [filter])];
  const given = [
    `experiment_ids=[${quoted(experimentId)}]`,
    ...(filter === '' ? [] : [`filter_string=${quoted(filter)}`]),
    ...(order === '' ? [] : [`order_by=[${quoted(order)}]`])
  ];
  const options = [`-e ${experimentId}`, ...(order === '' ? [] : [`--order-by ${shell(order)}`])];
  return {
    python: `import jupyter_mlops as mlops\n\nruns = mlops.search_runs(${given.join(', ')})`,
    // What is pasted into a cell is one line, whatever is in the filter.
    magic: `%mlops runs --all ${conditions.join(' AND ').replace(/\s/g, ' ')}`,
    cli: ['jupyter mlops runs list', ...(filter === '' ? [] : [shell(filter)]), ...options].join(' ')
  };
}

export function codeOfComparison(runIds: readonly string[]): Code {
  return {
    python: [
      'import jupyter_mlops as mlops',
      '',
      'with mlops.connect() as tracker:',
      `    comparison = tracker.compare([${runIds.map(quoted).join(', ')}])`
    ].join('\n'),
    magic: `%mlops compare ${runIds.join(' ')}`,
    cli: `jupyter mlops runs compare ${runIds.join(' ')}`
  };
}

/** A string of Python: JSON's escapes are among Python's. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function shell(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
