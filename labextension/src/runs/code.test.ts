import { describe, expect, it } from 'vitest';

import { codeOfComparison, codeOfSearch } from './code';

const ID = '0'.repeat(32);

describe('code', () => {
  it('finds what the table shows', () => {
    const { python, magic, cli } = codeOfSearch({
      experimentId: ID,
      filter: "params.kind = 'rf'",
      order: 'metrics.auc DESC'
    });
    expect(python).toContain(
      `mlops.search_runs(experiment_ids=["${ID}"], filter_string="params.kind = 'rf'", order_by=["metrics.auc DESC"])`
    );
    expect(magic).toBe(`%mlops runs --all experiment_id = '${ID}' AND params.kind = 'rf'`);
    expect(cli).toBe(
      `jupyter mlops runs list 'params.kind = '\\''rf'\\''' -e ${ID} --order-by 'metrics.auc DESC'`
    );
  });

  it('has no line in a magic that a filter could add', () => {
    const { magic, python } = codeOfSearch({ experimentId: ID, filter: 'a = 1\nimport os', order: '' });
    expect(magic).not.toContain('\n');
    expect(python.split('\n')).toHaveLength(3);
  });

  it('compares runs', () => {
    expect(codeOfComparison(['a', 'b']).cli).toBe('jupyter mlops runs compare a b');
  });
});
