/**
 * Who is at the door, in words: made into what a socket and a startup packet would have said.
 *
 * @module
 */
import { fromText } from '../byte-string.ts'
import { formatIpAddress, type IpAddress, parseIpAddress } from '../hba/ip-address.ts'
import type { ClientCertificate, LoginRequest } from '../login/login-request.ts'
import { startupMessage } from '../protocol/frontend-messages.ts'
import { PROTOCOL_3_0 } from '../protocol/limits.ts'
import { parseStartupMessage } from '../startup/startup-message.ts'

/** A connection as somebody asks about it. */
export interface Door {
  readonly user: string
  /** Default: as the user. */
  readonly database?: string | undefined
  /** Numeric; absent for a Unix socket. */
  readonly address?: string | undefined
  readonly tls: boolean
  /** The startup parameter: `true`, `database`, …; absent for an ordinary session. */
  readonly replication?: string | undefined
  /** Subject of a client certificate that was verified, such as `CN=ann,O=Example`. */
  readonly clientCertDn?: string | undefined
}

/** A question that describes no connection there could be. */
export class DoorError extends Error {
  readonly code = 'ERR_QUESTION'
  override readonly name = 'DoorError'
}

/**
 * The login that such a connection would ask for, with names cut and defaults put in as for a real one.
 *
 * @param ssl - the setting: without it there is no TLS.
 * @throws DoorError; ReportError where a startup packet would be refused.
 */
export function loginRequestOf(door: Door, { ssl }: { readonly ssl: boolean }): LoginRequest {
  const clientAddress = door.address === undefined ? undefined : numericAddress(door.address)
  if (door.tls && clientAddress === undefined) {
    throw new DoorError('a connection over a Unix socket has no TLS: give an address as well')
  }
  if (door.tls && !ssl) {
    throw new DoorError('the setting "ssl" is off, so no connection can have TLS')
  }
  if (door.clientCertDn !== undefined && !door.tls) {
    throw new DoorError('only a connection with TLS has a client certificate')
  }
  const { user, database, replication } = parseStartupMessage(startupPayload(door))
  return {
    id: 'explain',
    user,
    database,
    physicalReplication: replication === 'physical',
    clientAddress,
    tls: door.tls,
    clientCertificate: certificateOf(door.clientCertDn),
  }
}

function startupPayload({ user, database, replication }: Door): Buffer {
  const parameters = Object.entries({ user, database, replication }).flatMap(([name, value]) =>
    value === undefined ? [] : [[fromText(name), fromText(value)] as const],
  )
  try {
    return startupMessage(PROTOCOL_3_0, parameters).subarray(4)
  } catch (error) {
    throw new DoorError((error as Error).message)
  }
}

// As the listener sees them: IPv4-mapped addresses are IPv4.
function numericAddress(text: string): string {
  const address = parseIpAddress(text)
  if (address === undefined) {
    throw new DoorError(`"${text}" is not a numeric address`)
  }
  return formatIpAddress(unmapped(address))
}

function unmapped(address: IpAddress): IpAddress {
  const [first, second, third, last = 0] = address.words
  const mapped = address.family === 6 && first === 0 && second === 0 && third === 0xffff
  return mapped ? { family: 4, words: [last] } : address
}

function certificateOf(dn: string | undefined): ClientCertificate | undefined {
  if (dn === undefined) {
    return undefined
  }
  const commonName = /(?:^|[,+])\s*CN=((?:\\.|[^,+\\])*)/i.exec(dn)?.[1]?.replace(/\\(.)/g, '$1')
  return { commonName, distinguishedName: dn }
}
