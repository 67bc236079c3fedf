/** The addresses of views, and the paths that stand for them in URLs. */

export interface RunsAddress {
  readonly view: 'runs';
  readonly experimentId: string;
  /** In MLflow's grammar; what was shown last when absent. */
  readonly filter?: string;
  /** A clause such as `metrics.auc DESC`; as `filter`. */
  readonly order?: string;
  /** As `filter`. */
  readonly look?: RunsLook;
}
/** How runs are shown. */
export type RunsLook = 'chart' | 'table';
export interface RunAddress {
  readonly view: 'run';
  readonly runId: string;
}
export interface CompareAddress {
  readonly view: 'compare';
  readonly runIds: readonly string[];
}
export interface RegistryAddress {
  readonly view: 'registry';
  /** A model's name; all models when absent. */
  readonly model?: string;
}
export interface ReviewAddress {
  readonly view: 'review';
  readonly requestId: string;
}

export interface TokensAddress {
  readonly view: 'tokens';
}

export type ViewAddress =
  | RunsAddress
  | RunAddress
  | CompareAddress
  | RegistryAddress
  | ReviewAddress
  | TokensAddress;
export type ViewKind = ViewAddress['view'];

/** `runs/<id>`: relative to the service's page, and the value of `?mlops=` in JupyterLab. */
export function toPath(address: ViewAddress): string {
  switch (address.view) {
    case 'runs':
      return `experiments/${address.experimentId}${queryOf({ filter: address.filter, order: address.order, look: address.look })}`;
    case 'run':
      return `runs/${address.runId}`;
    case 'compare':
      return `compare?ids=${address.runIds.join(',')}`;
    case 'registry':
      return address.model === undefined ? 'models' : `models/${encodeURIComponent(address.model)}`;
    case 'review':
      return `requests/${address.requestId}`;
    case 'tokens':
      return 'tokens';
  }
}

/** The address that a path stands for; null when it stands for none. */
export function fromPath(path: string): ViewAddress | null {
  const at = path.indexOf('?');
  const [place, query] = at === -1 ? [path, ''] : [path.slice(0, at), path.slice(at + 1)];
  const [noun, name, ...more] = place.replace(/^\/|\/$/g, '').split('/').map(decoded);
  if (more.length > 0) {
    return null;
  }
  switch (noun) {
    case 'experiments':
      return isId(name) ? { view: 'runs', experimentId: name, ...given(query, ['filter', 'order']), ...lookIn(query) } : null;
    case 'runs':
      return isId(name) ? { view: 'run', runId: name } : null;
    case 'compare': {
      const runIds = (new URLSearchParams(query).get('ids') ?? '').split(',').filter(isId);
      return name === undefined && runIds.length > 0 ? { view: 'compare', runIds } : null;
    }
    case 'models':
      return name === undefined ? { view: 'registry' } : { view: 'registry', model: name };
    case 'requests':
      return isId(name) ? { view: 'review', requestId: name } : null;
    case 'tokens':
      return name === undefined ? { view: 'tokens' } : null;
    default:
      return null;
  }
}

function queryOf(values: Readonly<Record<string, string | undefined>>): string {
  const set = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return set.length === 0 ? '' : `?${new URLSearchParams(set).toString()}`;
}

function given<K extends string>(query: string, names: readonly K[]): Partial<Record<K, string>> {
  const found = new URLSearchParams(query);
  const set = names.filter(name => found.has(name)).map(name => [name, found.get(name) ?? '']);
  return Object.fromEntries(set) as Partial<Record<K, string>>;
}

function lookIn(query: string): Pick<RunsAddress, 'look'> {
  const { look } = given(query, ['look']);
  return look === 'chart' || look === 'table' ? { look } : {};
}

function isId(text: string | undefined): text is string {
  return text !== undefined && /^[0-9a-f]{32}$/.test(text);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
