export { type Dimension, position } from './dimensions';
export { Parallel } from './Parallel';
export { Scatter } from './Scatter';
