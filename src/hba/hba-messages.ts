/**
 * What the client reads when a rule, or the lack of one, refuses it (`auth.c: ClientAuthentication()`).
 *
 * @module
 */
import { toText } from '../byte-string.ts'
import type { HbaConnection } from './hba-line.ts'

/** The refusal where no rule matches: 28000. */
export function noHbaEntryMessage(connection: HbaConnection): string {
  return connection.physicalReplication
    ? `no pg_hba.conf entry for replication connection from ${subject(connection)}`
    : `no pg_hba.conf entry for ${subject(connection)}`
}

/** The refusal by a `reject` rule: 28000. */
export function hbaRejectMessage(connection: HbaConnection): string {
  return connection.physicalReplication
    ? `pg_hba.conf rejects replication connection for ${subject(connection)}`
    : `pg_hba.conf rejects connection for ${subject(connection)}`
}

function subject(connection: HbaConnection): string {
  const { local, address = '', user, database, physicalReplication, tls } = connection
  const host = `host "${local ? '[local]' : address}", user "${toText(user)}"`
  const named = physicalReplication ? host : `${host}, database "${toText(database)}"`
  return `${named}, ${tls ? 'SSL encryption' : 'no encryption'}`
}
