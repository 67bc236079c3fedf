export type { Column, Sorting } from './columns';
export { Table, type TableProps } from './Table';
