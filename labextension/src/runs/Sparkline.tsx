import type { ReactElement } from 'react';

const WIDTH = 52;
const HEIGHT = 16;

/** The values of a sweep's runs, in their order, as a line of dots; what is no number is left out. */
export function Sparkline({ values }: { readonly values: readonly number[] }): ReactElement | null {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(...finite);
  const spread = Math.max(...finite) - low || 1;
  const points = values.flatMap((value, index) =>
    Number.isFinite(value)
      ? [`${(1 + (index * (WIDTH - 2)) / Math.max(values.length - 1, 1)).toFixed(1)},${(HEIGHT - 2 - ((value - low) / spread) * (HEIGHT - 4)).toFixed(1)}`]
      : []
  );
  if (points.length < 2) {
    return null;
  }
  return (
    <svg className="jp-mlops-sparkline" width={WIDTH} height={HEIGHT} aria-hidden="true">
      <polyline points={points.join(' ')} />
    </svg>
  );
}
