/** The commands of running: from the notebook's toolbar, the file browser, the palette, the launcher, and others. */
import type { KernelSpec } from '@jupyterlab/services';
import { runIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { answered, ApiError, type Intent, type JobStatus, reason } from '../api';
import { CANCEL, INSERT_CELL, RERUN, RERUN_WITH_EDITS, RETRY, RUN } from '../lab/commandIds';
import type { Draft } from '../runform/draft';
import { Memory, type Surroundings } from '../view';
import { intentIn, text } from './arguments';
import type { Notebooks } from './notebooks';
import { askForSecrets } from './secrets';

export class Running {
  constructor(
    private readonly _around: Surroundings,
    private readonly _kernels: KernelSpec.IManager,
    private readonly _notebooks: Notebooks,
    /** Whether the page of a run is shown once it has been started. */
    private readonly _follows: () => boolean
  ) {}

  addTo(commands: CommandRegistry): void {
    const { trans } = this._around.host;
    commands.addCommand(RUN, {
      label: ({ isLauncher }) => (isLauncher === true ? trans.__('Run a Notebook') : trans.__('Run as Experiment…')),
      caption: trans.__('Run the notebook in the background, with parameters, and record it'),
      icon: runIcon,
      execute: args => this._told(trans.__('The notebook was not run'), () => this._run(args))
    });
    commands.addCommand(CANCEL, {
      label: trans.__('Cancel a Run'),
      execute: args => this._told(trans.__('The run was not cancelled'), () => this._cancel(runIn(args), args.isSure === true))
    });
    commands.addCommand(RETRY, {
      label: trans.__('Retry a Run'),
      execute: args => this._told(trans.__('The run was not repeated'), () => this._retry(runIn(args)))
    });
    commands.addCommand(RERUN, {
      label: trans.__('Run Again'),
      execute: args => this._told(trans.__('The run was not repeated'), () => this._rerun(runIn(args)))
    });
    commands.addCommand(RERUN_WITH_EDITS, {
      label: trans.__('Run Again with Edits…'),
      execute: args => this._told(trans.__('The run cannot be repeated here'), () => this._edit(runIn(args)))
    });
    commands.addCommand(INSERT_CELL, {
      label: trans.__('Insert a Parameters Cell'),
      isEnabled: args => text(args, 'path') !== undefined || this._notebooks.current() !== null,
      execute: async args => {
        const path = text(args, 'path') ?? this._notebooks.current();
        if (path !== null) {
          await this._notebooks.insertParametersCell(path);
        }
      }
    });
  }

  private async _run(args: ReadonlyPartialJSONObject): Promise<JobStatus | null> {
    const path = text(args, 'path') ?? (await this._pathFor(args));
    if (path === null) {
      return null;
    }
    const given = intentIn(args);
    if (args.start === true) {
      await this._notebooks.save(path);
      return this._submit({ ...given, path });
    }
    return this._ask(path, given);
  }

  private async _pathFor(args: ReadonlyPartialJSONObject): Promise<string | null> {
    if (args.isContextMenu === true) {
      return this._notebooks.selected();
    }
    const current = args.isLauncher === true ? null : this._notebooks.current();
    return current ?? this._notebooks.choose(this._around.host.trans.__('Choose a notebook to run'), text(args, 'cwd'));
  }

  private async _ask(path: string, given: Partial<Intent> | null): Promise<JobStatus | null> {
    await this._notebooks.save(path);
    // What the form is made of is loaded when it is first shown.
    const [{ askForRun }, drafts] = await Promise.all([import('../runform/dialog'), import('../runform/draft')]);
    // What stood in the form when this notebook was last run from here.
    const memory = new Memory(this._around.api);
    const kept = memory.recall(`form:${path}`) as Partial<Draft> | null;
    const started = await askForRun(this._around, {
      path,
      kernels: names(this._kernels.specs),
      initial: form =>
        given === null ? { ...drafts.EMPTY, ...kept } : drafts.draftOf(given, drafts.schemasOf(form)),
      onInsertCell: () => void this._notebooks.insertParametersCell(path)
    });
    if (started === null) {
      return null;
    }
    const [job, draft, form] = started;
    memory.keep(`form:${path}`, drafts.withoutSecrets(draft, drafts.schemasOf(form)));
    return this._started(job);
  }

  private async _submit(intent: Intent): Promise<JobStatus> {
    const { submit } = await import('../runform/planning');
    return this._started(await submit(this._around.api, intent));
  }

  private async _cancel(runId: string, isSure: boolean): Promise<JobStatus | null> {
    const { api, host } = this._around;
    const question = {
      title: host.trans.__('Cancel this run?'),
      body: host.trans.__('It ends as killed; what it has done until then is kept.'),
      action: host.trans.__('Cancel the run'),
      isDangerous: true
    };
    if (!isSure && !(await host.confirm(question))) {
      return null;
    }
    const job = await answered(api.server.POST('/jobs/{run_id}/cancel', { params: { path: { run_id: runId } } }));
    this._refresh();
    return job;
  }

  private async _retry(runId: string): Promise<JobStatus | null> {
    const { api, host } = this._around;
    const params = { path: { run_id: runId } };
    const { secrets = [] } = await answered(api.server.GET('/jobs/{run_id}', { params }));
    const given = await askForSecrets(secrets, host.trans);
    if (given === null) {
      return null;
    }
    const body = { parameters: given as Intent['parameters'] };
    return this._started(await answered(api.server.POST('/jobs/{run_id}/retry', { params, body })));
  }

  /** As it was, where this server still has its notebook; else the notebook as it is now, with the same values. */
  private async _rerun(runId: string): Promise<JobStatus | null> {
    try {
      return await this._retry(runId);
    } catch (error) {
      if (!(error instanceof ApiError && error.kind === 'NotFound')) {
        throw error;
      }
    }
    const { v1 } = this._around.api;
    const run = await answered(v1.GET('/runs/{run_id}', { params: { path: { run_id: runId } } }));
    const lacksSecrets = (run.params ?? []).some(param => param.redacted);
    const intent = await this._intent(runId);
    return lacksSecrets ? this._ask(intent.path, intent) : this._submit(intent);
  }

  private async _edit(runId: string): Promise<JobStatus | null> {
    const intent = await this._intent(runId);
    return this._ask(intent.path, intent);
  }

  private _intent(runId: string): Promise<Intent> {
    return answered(this._around.api.server.GET('/runs/{run_id}/intent', { params: { path: { run_id: runId } } }));
  }

  private _started(job: JobStatus): JobStatus {
    const { host } = this._around;
    const { trans } = host;
    const show = (): void => host.open({ view: 'run', runId: job.run_id });
    this._refresh();
    if (this._follows()) {
      show();
    } else {
      host.toast(trans.__('%1 was started', job.name), 'success', { action: { label: trans.__('Show'), run: show } });
    }
    return job;
  }

  private _refresh(): void {
    void this._around.cache.invalidateQueries({ queryKey: ['jobs'] });
  }

  /** What `act` gives; null when it failed, which the user is told. */
  private async _told(title: string, act: () => Promise<JobStatus | null>): Promise<JobStatus | null> {
    try {
      return await act();
    } catch (error) {
      this._around.host.toast(`${title}: ${reason(error)}`, 'error');
      return null;
    }
  }
}

function runIn(args: ReadonlyPartialJSONObject): string {
  return text(args, 'runId') ?? '';
}

function names(specs: KernelSpec.ISpecModels | null): Record<string, string> {
  const found = Object.values(specs?.kernelspecs ?? {}).flatMap(spec => (spec === undefined ? [] : [spec]));
  return Object.fromEntries(found.map(({ name, display_name }) => [name, display_name]));
}
