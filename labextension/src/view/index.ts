export * from './address';
export { useApi } from './api';
export { Frame, type Surroundings } from './Frame';
export { type Host, type Question, type ToastKind, type ToastOptions, useHost, useTrans } from './host';
export { View } from './views';
