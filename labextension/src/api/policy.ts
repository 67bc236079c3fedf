import type { Policy } from './records';

/** The names of the checks that a policy asks for. Answers leave out what is as by default, and that is not none. */
export function checkNames({ checks }: Partial<Pick<Policy, 'checks'>>): readonly string[] {
  return (checks ?? [{ name: 'loads' }]).map(({ name }) => name);
}
