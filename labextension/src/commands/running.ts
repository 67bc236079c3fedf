/** The commands of running: from the notebook's toolbar, the file browser, the palette, the launcher, and others. */
import type { KernelSpec } from '@jupyterlab/services';
import { runIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { answered, reason } from '../api';
import { withoutSecrets, schemasOf } from '../runform/draft';
import type { Surroundings } from '../view';
import type { Notebooks } from './notebooks';
import type { Remembered } from './remembered';

export const CommandIds = {
  run: 'mlops:run-notebook',
  cancel: 'mlops:cancel-run',
  retry: 'mlops:retry-run',
  insertCell: 'mlops:insert-parameters-cell'
} as const;

interface Needs {
  readonly around: Surroundings;
  readonly kernels: KernelSpec.IManager;
  readonly notebooks: Notebooks;
  readonly remembered: Remembered;
}

export function addCommands(commands: CommandRegistry, { around, kernels, notebooks, remembered }: Needs): void {
  const { api, cache, host } = around;
  const { trans } = host;

  const failing = async (title: string, act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      host.toast(title, 'error', { details: reason(error) });
    }
  };

  commands.addCommand(CommandIds.run, {
    label: ({ isLauncher }) => (isLauncher === true ? trans.__('Run a Notebook') : trans.__('Run as Experiment…')),
    caption: trans.__('Run the notebook in the background, with parameters, and record it'),
    icon: runIcon,
    execute: async args => {
      const path = text(args, 'path') ?? (await pathFor(args));
      if (path === null) {
        return;
      }
      await failing(trans.__('The notebook could not be saved, so it was not run.'), async () => {
        await notebooks.save(path);
        const { askForRun } = await import('../runform/dialog');
        const started = await askForRun(around, {
          path,
          kernels: names(kernels.specs),
          initial: await remembered.of(path),
          onInsertCell: () => void notebooks.insertParametersCell(path)
        });
        if (started === null) {
          return;
        }
        const [job, draft, form] = started;
        await remembered.keep(path, withoutSecrets(draft, schemasOf(form)));
        host.open({ view: 'run', runId: job.run_id });
      });
    }
  });

  const pathFor = async (args: ReadonlyPartialJSONObject): Promise<string | null> => {
    if (args.isContextMenu === true) {
      return notebooks.selected();
    }
    const current = args.isLauncher === true ? null : notebooks.current();
    return current ?? notebooks.choose(trans.__('Choose a notebook to run'), text(args, 'cwd'));
  };

  commands.addCommand(CommandIds.cancel, {
    label: trans.__('Cancel a Run'),
    execute: async args => {
      const runId = text(args, 'runId') ?? '';
      const question = {
        title: trans.__('Cancel this run?'),
        body: trans.__('It ends as killed; what it has done until then is kept.'),
        action: trans.__('Cancel the run'),
        isDangerous: true
      };
      if (args.isSure !== true && !(await host.confirm(question))) {
        return;
      }
      await failing(trans.__('The run could not be cancelled'), async () => {
        await answered(api.server.POST('/jobs/{run_id}/cancel', { params: { path: { run_id: runId } } }));
        await cache.invalidateQueries({ queryKey: ['jobs'] });
      });
    }
  });

  commands.addCommand(CommandIds.insertCell, {
    label: trans.__('Insert a Parameters Cell'),
    isEnabled: args => text(args, 'path') !== undefined || notebooks.current() !== null,
    execute: async args => {
      const path = text(args, 'path') ?? notebooks.current();
      if (path !== null) {
        await notebooks.insertParametersCell(path);
      }
    }
  });
}

function text(args: ReadonlyPartialJSONObject, name: string): string | undefined {
  const value = args[name];
  return typeof value === 'string' ? value : undefined;
}

function names(specs: KernelSpec.ISpecModels | null): Record<string, string> {
  const found = Object.values(specs?.kernelspecs ?? {}).flatMap(spec => (spec === undefined ? [] : [spec]));
  return Object.fromEntries(found.map(({ name, display_name }) => [name, display_name]));
}
