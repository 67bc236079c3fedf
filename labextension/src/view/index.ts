export * from './address';
export { useApi, useEvents } from '../api/context';
export { Frame, type Surroundings } from './Frame';
export { type Commands, type Host, type Question, type ToastKind, type ToastOptions, useHost, useTrans } from './host';
export { View } from './views';
export { Memory, useRemembered } from './memory';
export { TitleContext, useTitle } from './title';
export { copyText } from './clipboard';
export { useDecisionPage } from './decisions';
