export { MentionField } from './MentionField';
