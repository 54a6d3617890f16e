/**
 * The rule that decides about a connection, host names included.
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import { MembershipsUnknownError } from '../errors.ts'
import type { HbaConnection, HbaLine } from './hba-line.ts'
import { ClientHostName, type HostNameResolver, systemResolver } from './host-names.ts'
import {
  encryptionMismatch,
  firstMismatch,
  type HbaField,
  type HbaQuery,
  hbaQuery,
} from './match-hba-line.ts'

export interface FindHbaLineOptions {
  readonly memberships?: RoleMemberships | undefined
  /** Default: the system's. */
  readonly resolver?: HostNameResolver
  /** Ends the wait for a resolver. */
  readonly signal?: AbortSignal | undefined
  /** Told of each rule that does not match, in order, and of the first field that does not. */
  readonly onMismatch?: ((line: HbaLine, field: HbaField) => void) | undefined
}

export interface FoundHbaLine {
  /** Undefined refuses: no rule matches. */
  readonly line?: HbaLine
  /** The log's DETAIL where a rule asked for the client's host name. */
  readonly hostNameDetail?: string
}

/**
 * The first rule that matches. Asks the resolver only when it comes to a rule with a host name.
 *
 * @throws the signal's reason when it aborts during a look-up; MembershipsUnknownError at the first rule
 *   that needs memberships while nobody knows them.
 */
export async function findHbaLine(
  lines: readonly HbaLine[],
  connection: HbaConnection,
  options: FindHbaLineOptions = {},
): Promise<FoundHbaLine> {
  return await findAmong(() => lines, connection, options)
}

/** As {@link findHbaLine}, among the rules that `candidates` names for the connection. */
export async function findAmong(
  candidates: (query: HbaQuery) => Iterable<HbaLine>,
  connection: HbaConnection,
  { memberships, resolver = systemResolver, signal, onMismatch }: FindHbaLineOptions = {},
): Promise<FoundHbaLine> {
  const query = hbaQuery(connection, memberships)
  const host = new ClientHostName(connection.address ?? '', resolver, signal)
  for (const line of candidates(query)) {
    const named = line.address?.kind === 'hostname' ? line.address.name : undefined
    const encryption = encryptionMismatch(line, connection)
    if (encryption !== undefined) {
      onMismatch?.(line, encryption)
      continue
    }
    const hasName = named !== undefined && (await host.matches(named))
    const field = mismatchOf(line, query, hasName)
    if (field === undefined) {
      return found(line, host.detail)
    }
    onMismatch?.(line, field)
  }
  return found(undefined, host.detail)
}

function mismatchOf(line: HbaLine, query: HbaQuery, hasName: boolean): HbaField | undefined {
  try {
    return firstMismatch(line, query, () => hasName)
  } catch (error) {
    if (error instanceof MembershipsUnknownError) {
      throw new MembershipsUnknownError({
        logFields: { hba: { file: line.file, line: line.line } },
      })
    }
    throw error
  }
}

function found(line: HbaLine | undefined, detail: string | undefined): FoundHbaLine {
  return {
    ...(line === undefined ? {} : { line }),
    ...(detail === undefined ? {} : { hostNameDetail: detail }),
  }
}
