/** Which happenings are told as toasts. */
import type { Happening, Run } from '../api';
import type { Host } from '../view';

export interface Wanted {
  readonly runs: 'all' | 'failed' | 'none';
  /** Mentions, and aliases that moved. */
  readonly people: boolean;
}

export class Notifications {
  /** Own runs that were seen while they waited or worked: only their ends are news. */
  private readonly _begun = new Set<string>();

  constructor(
    private readonly _host: Host,
    private readonly _user: string
  ) {}

  tell(news: readonly Happening[], wanted: Wanted): void {
    for (const happening of news) {
      if (happening.run != null) {
        this._tellRun(happening.run, wanted.runs);
      } else if (wanted.people) {
        this._tellPerson(happening);
      }
    }
  }

  private _tellRun(run: Run, wanted: Wanted['runs']): void {
    if (run.user !== this._user || run.parent_run_id != null) {
      return;
    }
    if (run.status === 'SCHEDULED' || run.status === 'RUNNING') {
      this._begun.add(run.run_id);
      return;
    }
    const isNews = this._begun.delete(run.run_id);
    if (!isNews || wanted === 'none' || (wanted === 'failed' && run.status !== 'FAILED')) {
      return;
    }
    const { open, toast, trans } = this._host;
    const action = { label: trans.__('Show'), run: () => open({ view: 'run', runId: run.run_id }) };
    if (run.status === 'FINISHED') {
      toast(trans.__('%1 has finished', run.name), 'success', { action });
    } else if (run.status === 'KILLED') {
      toast(trans.__('%1 was ended', run.name), 'info', { action });
    } else {
      const details = run.reason?.traceback ?? run.reason?.message;
      const message = trans.__('%1 failed: %2', run.name, run.reason?.message ?? trans.__('no reason is known'));
      toast(message, 'error', details === undefined ? { action } : { action, details });
    }
  }

  private _tellPerson({ kind, target, detail }: Happening): void {
    const { open, toast, trans } = this._host;
    const told = (detail ?? {}) as { request_id?: string; alias?: string; text?: string; version?: number };
    const alias = told.alias ?? '';
    if (kind === 'promotion.mentioned' && told.request_id !== undefined) {
      const requestId = told.request_id;
      toast(trans.__('You are mentioned: %1 → %2', target, alias), 'info', {
        ...(told.text === undefined ? {} : { details: told.text }),
        action: { label: trans.__('Show'), run: () => open({ view: 'review', requestId }) }
      });
    } else if (kind === 'consumed.moved') {
      const message = trans.__('%1 of %2, which you use, is now version %3', alias, target, told.version ?? '-');
      const action = { label: trans.__('Show'), run: () => open({ view: 'registry', model: target }) };
      toast(message, 'info', { action });
    }
  }
}
