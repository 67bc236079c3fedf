/** Colours for values: from the first colour of series, for the least, to the second. */
import type { Colors } from '../chart';
import { type Dimension, position } from './dimensions';

export function blended(dimension: Dimension | undefined, { series, faint }: Colors): (run: number) => string {
  const [from = faint, to = faint] = series;
  const places = (dimension?.values ?? []).map(value => (dimension === undefined ? null : position(dimension, value)));
  const known = places.filter(place => place !== null);
  const least = Math.min(...known);
  const spread = Math.max(...known) - least;
  return run => {
    const place = places[run] ?? null;
    return place === null ? faint : mixed(from, to, spread > 0 ? (place - least) / spread : 0);
  };
}

/** Two colours as `#rrggbb`, the second by `share`. */
export function mixed(one: string, other: string, share: number): string {
  const channel = (at: number): number => {
    const [first, second] = [one, other].map(color => Number.parseInt(color.slice(at, at + 2), 16));
    return Math.round((first ?? 0) + ((second ?? 0) - (first ?? 0)) * share);
  };
  return `rgb(${channel(1)}, ${channel(3)}, ${channel(5)})`;
}
