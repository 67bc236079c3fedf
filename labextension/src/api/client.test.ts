import { describe, expect, it } from 'vitest';

import { BASE, FakeServer } from '../test/surroundings';
import { answered, createApi } from './client';

const RUN = '0123456789abcdef0123456789abcdef';

describe('a request', () => {
  it('goes to its path below the base, and gives the answer', async () => {
    const server = new FakeServer({ 'POST api/v1/search/runs': { items: [] } });
    const answer = answered(createApi(server).v1.POST('/search/runs', { body: { filter: 'metrics.auc > 0.9' } }));
    await expect(answer).resolves.toEqual({ items: [] });
    expect(server.asked).toEqual([{ what: 'POST api/v1/search/runs', body: { filter: 'metrics.auc > 0.9' } }]);
  });

  it('that is refused is an error with the sentence of the server', async () => {
    const problem = { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'no such run', error: 'NotFound', request_id: 'r' };
    const path = `GET api/v1/runs/${RUN}`;
    const server = new FakeServer({ [path]: Response.json(problem, { status: 404 }) });
    const asked = answered(createApi(server).v1.GET('/runs/{run_id}', { params: { path: { run_id: RUN } } }));
    await expect(asked).rejects.toMatchObject({ message: 'no such run', status: 404, kind: 'NotFound', isMissing: false });
  });

  it('that Jupyter does not know says that the extension is missing', async () => {
    const asked = answered(createApi(new FakeServer({})).server.GET('/status'));
    await expect(asked).rejects.toMatchObject({ isMissing: true, isTemporary: false });
  });

  it.each([
    ['a proxy answers', () => Promise.resolve(new Response('<html>', { status: 502, statusText: 'Bad Gateway' }))],
    ['nothing answers', () => Promise.reject(new TypeError('Failed to fetch'))]
  ])('may succeed later where %s', async (_, fetch) => {
    const server = Object.assign(new FakeServer({}), { fetch });
    await expect(answered(createApi(server).v1.GET('/principal'))).rejects.toMatchObject({ isTemporary: true });
  });
});

it('the URL of bytes says which', () => {
  const url = createApi(new FakeServer({})).url('runs/1/content', { path: 'plots/a b.png' });
  expect(url).toBe(`${BASE}api/v1/runs/1/content?path=plots%2Fa+b.png`);
});
