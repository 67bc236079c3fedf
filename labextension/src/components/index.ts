export { Empty } from './Empty';
export { Failure } from './Failure';
export { Loading } from './Loading';
export { Owner } from './Owner';
export { Progress } from './Progress';
export { RelativeTime } from './RelativeTime';
export { ShortId } from './ShortId';
export { Status } from './Status';
