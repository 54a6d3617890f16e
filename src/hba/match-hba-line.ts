/**
 * Which rule decides about a connection (`hba.c: check_hba()`): the first one that matches.
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import type { DatabaseMatch, HbaConnection, HbaLine, UserMatch } from './hba-line.ts'
import { type IpAddress, parseIpAddress } from './ip-address.ts'
import { matchAddress, OwnAddresses } from './match-address.ts'

/** A field of a rule, in the order in which they are tested. */
export type HbaField = 'type' | 'tls' | 'gss' | 'address' | 'database' | 'user'

/** A connection with what is looked up once for it. */
export interface HbaQuery {
  readonly connection: HbaConnection
  readonly client: IpAddress | undefined
  readonly own: OwnAddresses
  readonly memberships: RoleMemberships | undefined
}

/**
 * Prepares a connection for matching.
 *
 * @throws TypeError where a TCP connection has no numeric address: then no rule could be trusted.
 */
export function hbaQuery(connection: HbaConnection, memberships?: RoleMemberships): HbaQuery {
  const client = connection.local ? undefined : parseIpAddress(connection.address ?? '')
  if (client === undefined && !connection.local) {
    throw new TypeError('a TCP connection needs a numeric client address')
  }
  return { connection, client, own: new OwnAddresses(), memberships }
}

/**
 * The first rule that matches, in a linear scan; undefined refuses.
 *
 * @throws TypeError at a rule with a host name that would have to be looked up: use `findHbaLine`.
 */
export function matchHbaLine(
  lines: readonly HbaLine[],
  connection: HbaConnection,
  memberships?: RoleMemberships,
): HbaLine | undefined {
  const query = hbaQuery(connection, memberships)
  for (const line of lines) {
    if (firstMismatch(line, query) === undefined) {
      return line
    }
  }
  return undefined
}

/** Answers whether the client has the host name of a rule. */
export type HostNameTest = (line: HbaLine) => boolean

/** The first field that does not match, or undefined where the rule matches. */
export function firstMismatch(
  line: HbaLine,
  query: HbaQuery,
  hasHostName: HostNameTest = failHostName,
): HbaField | undefined {
  const mismatch = encryptionMismatch(line, query.connection)
  if (mismatch !== undefined) {
    return mismatch
  }
  const { address } = line
  if (address?.kind === 'hostname') {
    if (!hasHostName(line)) {
      return 'address'
    }
  } else if (address !== undefined && !matchAddress(address, query.client, query.own)) {
    return 'address'
  }
  if (!matchDatabases(line.databases, query)) {
    return 'database'
  }
  return matchUsers(line.users, query) ? undefined : 'user'
}

// Loops without a function for each line: this is the inside of the linear scan.
function matchDatabases(databases: readonly DatabaseMatch[], query: HbaQuery): boolean {
  for (const database of databases) {
    if (matchDatabase(database, query)) {
      return true
    }
  }
  return false
}

function matchUsers(users: readonly UserMatch[], query: HbaQuery): boolean {
  for (const user of users) {
    if (matchUser(user, query)) {
      return true
    }
  }
  return false
}

function failHostName({ file, line }: HbaLine): never {
  throw new TypeError(`${file}:${line} has a host name, which findHbaLine() looks up`)
}

/** Socket, TLS and GSS: what comes before the address. We never have GSS encryption. */
export function encryptionMismatch(
  { connType }: HbaLine,
  { local, tls }: HbaConnection,
): HbaField | undefined {
  switch (connType) {
    case 'local':
      return local ? undefined : 'type'
    case 'host':
    case 'hostnogssenc':
      return local ? 'type' : undefined
    case 'hostssl':
      return local ? 'type' : tls ? undefined : 'tls'
    case 'hostnossl':
      return local ? 'type' : tls ? 'tls' : undefined
    case 'hostgssenc':
      return local ? 'type' : 'gss'
  }
}

function matchDatabase(database: DatabaseMatch, { connection, memberships }: HbaQuery): boolean {
  if (connection.physicalReplication) {
    return database.kind === 'replication'
  }
  switch (database.kind) {
    case 'all':
      return true
    case 'sameuser':
      return connection.database === connection.user
    case 'samerole':
      return memberships?.isMember(connection.user, connection.database) ?? false
    case 'replication':
      return false
    case 'regex':
      return database.regex.test(connection.database)
    case 'name':
      return database.token.value === connection.database
  }
}

function matchUser(user: UserMatch, { connection, memberships }: HbaQuery): boolean {
  switch (user.kind) {
    case 'all':
      return true
    case 'member':
      return memberships?.isMember(connection.user, user.group) ?? false
    case 'regex':
      return user.regex.test(connection.user)
    case 'name':
      return user.token.value === connection.user
  }
}
