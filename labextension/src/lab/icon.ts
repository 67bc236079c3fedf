import { LabIcon } from '@jupyterlab/ui-components';

/** Points that converge, and the one that was chosen. */
export const mlopsIcon = new LabIcon({
  name: 'jupyter-mlops:icon',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3 jp-icon-selectable" fill="#616161">
    <path d="M3 3h2v16h16v2H3z"/>
    <circle cx="9" cy="8" r="1.8"/><circle cx="12.5" cy="12.5" r="1.8"/><circle cx="16.5" cy="15" r="1.8"/>
    <path d="M19 4l1.1 2.3 2.4.4-1.7 1.7.4 2.4L19 9.7l-2.2 1.1.4-2.4-1.7-1.7 2.4-.4z"/>
  </g>
</svg>`
});
