/** How a run is read, run and reproduced without the panel. */
import type { Run } from '../api';

export interface Code {
  readonly python: string;
  readonly magic: string;
  readonly cli: string;
}

export function codeOf({ run_id: id, kind }: Run): Code {
  const again = kind === 'notebook' ? `\njupyter mlops rerun ${id}\njupyter mlops reproduce ${id}` : '';
  return {
    python: [
      'import jupyter_mlops as mlops',
      '',
      `run = mlops.get_run("${id}")`,
      'run.data.params, run.data.metrics'
    ].join('\n'),
    magic: `%mlops runs --all run_id = '${id}'`,
    cli: `jupyter mlops runs show ${id}${again}`
  };
}

/** The command that runs it again and compares. */
export function reproduceCommand({ run_id: id }: Run): string {
  return `jupyter mlops reproduce ${id}`;
}
