/** The fields of runs by the names that filters have for them: `params.lr`, `metrics.auc`, `attributes.status`. */
import type { Run } from '../api';
import { toNumber } from '../components/figures';
import type { Spread } from '../components/numbers';

export type Kind = 'attributes' | 'params' | 'metrics' | 'tags';

/** What runs have of one field. */
export interface Facts extends Spread {
  readonly kind: Kind;
  readonly key: string;
  /** Runs that have it. */
  readonly count: number;
  /** The first value. */
  readonly text: string;
  /** Not the same in all that have it. */
  readonly isVaried: boolean;
  /** Numbers in all that have it. */
  readonly isNumber: boolean;
}

export type FactsById = ReadonlyMap<string, Facts>;

export interface Gathered {
  readonly facts: FactsById;
  /** How many runs they are about. A sweep is none of them: it executes nothing itself. */
  readonly runs: number;
}

const SYSTEM_METRICS = 'system/';
const SYSTEM_TAGS = ['mlops.', 'mlflow.'];

/** Whatever cannot begin something else in a filter. */
const BARE = /^[^\s=!<>'"`(),;]+$/;

/** A field as filters and orders spell it. */
export function fieldName(kind: string, key: string): string {
  return `${kind}.${BARE.test(key) ? key : `\`${key.replaceAll('`', '``')}\``}`;
}

/** Logged by the recorder, not by the user. */
export function isSystems(kind: Kind, key: string): boolean {
  return (
    (kind === 'metrics' && key.startsWith(SYSTEM_METRICS)) ||
    (kind === 'tags' && SYSTEM_TAGS.some(prefix => key.startsWith(prefix)))
  );
}

/** What the runs have of their parameters, metrics and tags, by the fields' names. */
function gathered(runs: readonly Run[]): Gathered {
  let count = 0;
  const found = new Map<string, Facts>();
  const meet = (kind: Kind, key: string, text: string, value: number | null): void => {
    const id = fieldName(kind, key);
    const facts: Facts = {
      kind,
      key,
      count: 1,
      text,
      isVaried: false,
      isNumber: value !== null,
      isWhole: value !== null && Number.isInteger(value),
      largest: value !== null && Number.isFinite(value) ? Math.abs(value) : 0
    };
    const before = found.get(id);
    found.set(id, before === undefined ? facts : joined(before, facts));
  };
  for (const { kind, params = [], metrics = [], tags = [] } of runs) {
    if (kind === 'sweep') {
      continue;
    }
    count += 1;
    for (const { key, value, text } of params) {
      meet('params', key, text, typeof value === 'number' ? value : null);
    }
    for (const { key, value } of metrics) {
      meet('metrics', key, String(value), toNumber(value));
    }
    for (const { key, value } of tags) {
      meet('tags', key, value, null);
    }
  }
  return { facts: found, runs: count };
}

const perPage = new WeakMap<readonly Run[], Gathered>();

/** What the runs of all pages have; a page that was looked at is not looked at again. */
export function gatheredFrom(pages: readonly (readonly Run[])[]): Gathered {
  const found = new Map<string, Facts>();
  let runs = 0;
  for (const page of pages) {
    let of = perPage.get(page);
    if (of === undefined) {
      of = gathered(page);
      perPage.set(page, of);
    }
    runs += of.runs;
    for (const [id, each] of of.facts) {
      const before = found.get(id);
      found.set(id, before === undefined ? each : joined(before, each));
    }
  }
  return { facts: found, runs };
}

function joined(one: Facts, other: Facts): Facts {
  return {
    ...one,
    count: one.count + other.count,
    isVaried: one.isVaried || other.isVaried || one.text !== other.text,
    isNumber: one.isNumber && other.isNumber,
    isWhole: one.isWhole && other.isWhole,
    largest: Math.max(one.largest, other.largest)
  };
}
