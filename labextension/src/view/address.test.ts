import { describe, expect, it } from 'vitest';

import { fromPath, toPath, type ViewAddress } from './address';

const ID = '0123456789abcdef0123456789abcdef';
const OTHER = 'f'.repeat(32);
const ADDRESSES: ViewAddress[] = [
  { view: 'runs', experimentId: ID },
  { view: 'runs', experimentId: ID, filter: "params.kind = 'a&b?' AND metrics.auc > 0", order: 'metrics.auc DESC' },
  { view: 'runs', experimentId: ID, filter: '' },
  { view: 'runs', experimentId: ID, filter: '', order: '', look: 'chart' },
  { view: 'run', runId: ID },
  { view: 'compare', runIds: [ID, OTHER] },
  { view: 'registry' },
  { view: 'registry', model: 'churn / 50 %?' },
  { view: 'review', requestId: ID },
  { view: 'tokens' }
];

describe('a path', () => {
  it.each(ADDRESSES)('leads back to the address that it was made of: %j', address => {
    expect(fromPath(toPath(address))).toEqual(address);
  });

  it.each(['', 'runs', 'runs/1', 'runs/../x', `runs/${ID}/more`, 'compare?ids=', '%', `javascript:${ID}`])(
    'that leads nowhere is no address: %s',
    path => expect(fromPath(path)).toBeNull()
  );
});
