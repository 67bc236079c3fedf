/** The colours of charts, from JupyterLab's theme. */
import { useEffect, useState } from 'react';

export interface Colors {
  readonly text: string;
  readonly faint: string;
  readonly line: string;
  readonly background: string;
  /** Of series, in their order; told apart also with the usual colour blindnesses. */
  readonly series: readonly string[];
}

/** Okabe and Ito's, darker or brighter than the theme's background. */
const ON_LIGHT = ['#0072b2', '#d55e00', '#007a5a', '#b0578d', '#8a6d00', '#1d7fb8', '#5f5f5f'];
const ON_DARK = ['#56b4e9', '#e69f00', '#2fc59a', '#e08cbf', '#f0e442', '#8fb8ff', '#bdbdbd'];

export function colorsOf(element: Element): Colors {
  const style = getComputedStyle(element);
  const read = (name: string, otherwise: string): string => style.getPropertyValue(name).trim() || otherwise;
  const isDark = document.body.dataset.jpThemeLight === 'false';
  return {
    text: read('--jp-ui-font-color1', isDark ? '#fff' : '#222'),
    faint: read('--jp-ui-font-color2', isDark ? '#bbb' : '#666'),
    line: read('--jp-border-color2', isDark ? '#444' : '#ddd'),
    background: read('--jp-layout-color1', isDark ? '#111' : '#fff'),
    series: isDark ? ON_DARK : ON_LIGHT
  };
}

/** A number that changes when the theme does. */
export function useThemeChanges(): number {
  const [changes, setChanges] = useState(0);
  useEffect(() => {
    const observer = new MutationObserver(() => setChanges(count => count + 1));
    observer.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name'] });
    return () => observer.disconnect();
  }, []);
  return changes;
}
