/** What may be typed next in a filter. The server reads filters; this only knows where in one the cursor is. */
import type { Run } from '../../api';
import { type FactsById, fieldName } from '../fields';
import { valuesOf } from '../values';

type Part = 'field' | 'operator' | 'value' | 'conjunction' | 'nothing';

export interface Spot {
  /** What is expected there. */
  readonly part: Part;
  /** The characters to replace. */
  readonly from: number;
  readonly to: number;
  readonly typed: string;
  /** That an operator or a value is for. */
  readonly field: string;
}

export interface Suggestion {
  readonly label: string;
  /** What stands in the place of the spot. */
  readonly text: string;
}

const TOKEN = /(?:[^\s=!<>'"`(),;]+\.)?`(?:[^`]|``)*`?|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|[=!<>]+|[(),;]|[^\s=!<>'"`(),;]+/g;
const MOST = 12;
/** Runs whose values are looked through. */
const MOST_RUNS = 2000;

const NUMBERS: ReadonlySet<string> = new Set(['attributes.start_time', 'attributes.end_time']);
const NAMED = ['status', 'name', 'user', 'kind', 'source', 'start_time', 'end_time', 'run_id', 'parent_run_id'];
const DATASETS = ['name', 'digest', 'context'];
const NUMBER_OPERATORS = ['>', '>=', '<', '<=', '=', '!='];
const TEXT_OPERATORS = ['=', '!=', 'LIKE', 'ILIKE', 'IN', 'NOT IN', 'IS NULL', 'IS NOT NULL'];

/** Where the cursor is. */
export function spotAt(text: string, cursor: number): Spot {
  let part: Part = 'field';
  let field = '';
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    const end = index + token.length;
    if (index < cursor && cursor <= end && !(cursor === end && /[(,]$/.test(token))) {
      const isWord = part !== 'operator' || !/^[=!<>]/.test(token) || cursor === end;
      return { part: isWord ? part : 'nothing', from: index, to: end, typed: text.slice(index, cursor), field };
    }
    if (index >= cursor) {
      break;
    }
    if (part === 'field') {
      field = token;
    }
    part = after(part, token);
  }
  return { part, from: cursor, to: cursor, typed: '', field };
}

function after(part: Part, token: string): Part {
  switch (part) {
    case 'field':
      return 'operator';
    case 'operator':
      // NOT IN and IS NOT NULL are two words and more.
      return /^(not|is)$/i.test(token) ? 'operator' : /^null$/i.test(token) ? 'conjunction' : 'value';
    case 'value':
      return token === '(' || token === ',' ? 'value' : 'conjunction';
    case 'conjunction':
      return token === ',' ? 'value' : /^and$/i.test(token) ? 'field' : 'conjunction';
    default:
      return part;
  }
}

/** What fits there, best first. */
export function suggestions({ part, typed, field }: Spot, facts: FactsById, runs: readonly Run[]): Suggestion[] {
  switch (part) {
    case 'field':
      return matching(fields(facts), typed).map(label => ({ label, text: `${label} ` }));
    case 'operator': {
      const operators = isNumber(field, facts) ? NUMBER_OPERATORS : TEXT_OPERATORS;
      return operators
        .filter(each => each.toLowerCase().startsWith(typed.toLowerCase()) && each !== typed)
        .map(label => ({ label, text: label.endsWith('IN') ? `${label} (` : `${label} ` }));
    }
    case 'value': {
      const inner = typed.replace(/^['"]/, '').toLowerCase();
      const known = [...valuesIn(field, runs)].filter(each => each.toLowerCase().includes(inner));
      return known.slice(0, MOST).map(value => {
        const text = isNumber(field, facts) ? value : `'${value.replaceAll("'", "''")}'`;
        return { label: text, text: `${text} ` };
      });
    }
    case 'conjunction':
      return 'and'.startsWith(typed.toLowerCase()) ? [{ label: 'AND', text: 'AND ' }] : [];
    default:
      return [];
  }
}

function fields(facts: FactsById): string[] {
  const named = NAMED.map(key => fieldName('attributes', key));
  return [...facts.keys(), ...named, ...DATASETS.map(key => fieldName('datasets', key))];
}

/** Those that begin so come first, then those whose key does. */
function matching(names: readonly string[], typed: string): string[] {
  const wanted = typed.toLowerCase();
  const rank = (name: string): number => {
    const lower = name.toLowerCase();
    return lower.startsWith(wanted) ? 0 : lower.includes(`.${wanted}`) ? 1 : lower.includes(wanted) ? 2 : 3;
  };
  return names
    .map(name => ({ name, at: rank(name) }))
    .filter(({ name, at }) => at < 3 && name !== typed)
    .sort((one, other) => one.at - other.at)
    .slice(0, MOST)
    .map(({ name }) => name);
}

function isNumber(field: string, facts: FactsById): boolean {
  return field.startsWith('metrics.') || NUMBERS.has(field) || facts.get(field)?.isNumber === true;
}

function valuesIn(field: string, runs: readonly Run[]): Set<string> {
  const found = new Set<string>();
  const [kind, ...rest] = field.split('.');
  const key = rest.join('.').replace(/^`|`$/g, '').replaceAll('``', '`');
  for (const run of runs.slice(0, MOST_RUNS)) {
    const value = valueOf(run, kind ?? '', key);
    if (value !== undefined && value !== '') {
      found.add(value);
    }
  }
  return found;
}

function valueOf(run: Run, kind: string, key: string): string | undefined {
  switch (kind) {
    case 'params':
      return valuesOf(run).params.get(key)?.text;
    case 'tags':
      return valuesOf(run).tags.get(key);
    case 'attributes': {
      const value = run[key as keyof Run];
      return typeof value === 'string' ? value : undefined;
    }
    case 'datasets': {
      const [input] = run.inputs ?? [];
      return key === 'context' ? input?.context : input?.dataset[key as 'name' | 'digest'];
    }
    default:
      return undefined;
  }
}
