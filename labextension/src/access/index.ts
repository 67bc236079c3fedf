export { TokensView } from './TokensView';
