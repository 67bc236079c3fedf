export { NotebookDiff } from './NotebookDiff';
