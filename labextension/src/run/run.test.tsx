import { configure, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { readFileSync } from 'node:fs';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';

import cells from '../test/run/cells.json';
import experiment from '../test/run/experiment.json';
import files from '../test/run/files.json';
import run from '../test/run/run.json';
import { type Answers, fakeHost, FakeServer, show } from '../test/surroundings';
import { RunView } from '.';

const AT = `GET api/v1/runs/${run.run_id}`;
const EVIL = '<img src=x onerror=window.hostile=1>';
const ANSWERS: Answers = {
  [AT]: run,
  'GET api/v1/principal': { name: 'ada', groups: [], scope: 2 },
  [`GET api/v1/experiments/${run.experiment_id}`]: experiment,
  [`${AT}/files`]: files,
  [`${AT}/children`]: [],
  [`${AT}/comments`]: [
    { comment_id: '1', run_id: run.run_id, user: 'ada', text: `@bo look: ${EVIL}`, created: run.start_time }
  ],
  'POST api/v1/search/runs': { items: [] },
  'POST api/v1/search/versions': { items: [] },
  [`${AT}/content#notebook/executed.ipynb`]: readFileSync('src/test/hostile/executed.ipynb', 'utf8'),
  [`${AT}/content#notebook/cells.json`]: JSON.stringify(cells),
  [`${AT}/content#table.csv`]: `${EVIL},b\n"<script>1</script>",2\n`,
  [`${AT}/content#page.html`]: '<script>window.hostile = 1</script>',
  [`${AT}/content#image.svg`]: '<svg xmlns="http://www.w3.org/2000/svg" onload="window.hostile=1"/>',
  [`${AT}/content#notes.md`]: `# x\n<script>1</script>\n[x](javascript:1) ${EVIL}`
};

configure({ asyncUtilTimeout: 10_000 });

let server: FakeServer;

/** Nothing on the page could run, or fetch from elsewhere. */
function expectHarmless(): void {
  expect('hostile' in window).toBe(false);
  for (const element of document.body.querySelectorAll('*')) {
    expect(['script', 'iframe', 'object', 'embed', 'form[action]']).not.toContain(element.localName);
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(/^on|^srcdoc$|^formaction$/);
      if (['href', 'src', 'action'].includes(name)) {
        expect(value).not.toMatch(/^\s*javascript:|^data:text|example\.invalid.*png/i);
      }
    }
  }
}

// JupyterLab's renderers take their time to be read, which is no part of what is examined.
beforeAll(
  () =>
    Promise.all([
      import('./artifacts/Artifacts'),
      import('./Charts'),
      import('./Environment'),
      import('./Lineage'),
      import('./notebook/OutputArea'),
      import('../components/rendered/Rendered')
    ]),
  120_000
);

beforeEach(async () => {
  server = new FakeServer(ANSWERS);
  show(<RunView view="run" runId={run.run_id} />, server, fakeHost({ commands: null }));
  await screen.findByRole('heading', { name: run.name });
});

describe('the page of a hostile run', () => {
  it('says how it ended, and shows names and values as text', async () => {
    expect(screen.getByText(/cell error in cell 7/)).toBeTruthy();
    expect((await screen.findAllByText(EVIL)).length).toBeGreaterThan(0);
    const mention = await screen.findByText('@bo');
    expect(mention.localName).toBe('strong');
    expectHarmless();
  });

  it('shows the executed notebook with durations, and withholds what needs scripts', async () => {
    await userEvent.click(screen.getByRole('tab', { name: 'Notebook' }));
    await screen.findByText('Outputs that run scripts are not shown here.');
    expect(await screen.findByText('bold')).toBeTruthy();
    expect(screen.getByText('a chart')).toBeTruthy();
    expect(screen.getByText('a widget')).toBeTruthy();
    const failed = screen.getByRole('region', { name: 'Cell 7, which failed' });
    expect(within(failed).getByText(/^\d.* m?s$/)).toBeTruthy();
    expectHarmless();
  }, 60_000);

  it('looks into files without running any', async () => {
    await userEvent.click(screen.getByRole('tab', { name: 'Artifacts' }));
    await userEvent.click(await screen.findByRole('button', { name: /^table\.csv/ }));
    expect(await screen.findByRole('columnheader', { name: EVIL })).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: /^page\.html/ }));
    expect(await screen.findByText('<script>window.hostile = 1</script>')).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: /^image\.svg/ }));
    expect(await screen.findByText(/^<svg/)).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: /^notes\.md/ }));
    expect(await screen.findByRole('heading', { name: /^x/ })).toBeTruthy();
    expectHarmless();
  }, 60_000);

  it('asks for nothing that no server answers', async () => {
    for (const name of ['Charts', 'Environment', 'Lineage']) {
      await userEvent.click(screen.getByRole('tab', { name }));
      await waitFor(() => expect(screen.queryByText('Loading…')).toBeNull());
    }
    const unknown = server.missed.filter(asked => !/\/(content|sampled)$/.test(asked));
    expect(unknown).toEqual([]);
  }, 60_000);
});
