export * from './address';
export { useApi, useEvents } from './api';
export { Frame, type Surroundings } from './Frame';
export { type Commands, type Host, type Question, type ToastKind, type ToastOptions, useHost, useTrans } from './host';
export { View } from './views';
