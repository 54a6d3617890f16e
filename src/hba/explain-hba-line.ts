/**
 * Why a rule does not match: what `pgbearer explain` says of each line before the one that does.
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import type { HbaConnection, HbaLine } from './hba-line.ts'
import { firstMismatch, type HbaField, type HostNameTest, hbaQuery } from './match-hba-line.ts'

export interface ExplainHbaLineOptions {
  readonly memberships?: RoleMemberships | undefined
  /** Decides rules with host names; without it such a rule throws a TypeError. */
  readonly hasHostName?: HostNameTest
}

/** The first field that does not match, in PostgreSQL's order of tests; undefined where all do. */
export function explainHbaLine(
  line: HbaLine,
  connection: HbaConnection,
  { memberships, hasHostName }: ExplainHbaLineOptions = {},
): HbaField | undefined {
  return firstMismatch(line, hbaQuery(connection, memberships), hasHostName)
}
