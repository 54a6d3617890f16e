/**
 * Who is at the door.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'
import type { HbaConnection } from '../hba/hba-line.ts'

/** Who is at the door, as the socket and the startup packet say. */
export interface LoginRequest {
  /** Unique in the life of the process; names the connection in the log. */
  readonly id: string
  /** The requested role. A string is taken as UTF-8. */
  readonly user: ByteString
  /** Empty for physical replication. */
  readonly database: ByteString
  readonly physicalReplication: boolean
  /** Numeric address; undefined for a Unix socket (or anything else that is local). */
  readonly clientAddress: string | undefined
  readonly tls: boolean
  /** What the client's certificate says, where it showed one and its chain was verified. */
  readonly clientCertificate?: ClientCertificate | undefined
}

/** The names in a client's certificate. Absent names are undefined. */
export interface ClientCertificate {
  /** The first CN of the subject. */
  readonly commonName: string | undefined
  /** The subject as RFC 2253 writes it: `CN=ann,OU=people,O=Example`. */
  readonly distinguishedName: string
}

/** The part of a request that rules look at. */
export function connectionOf(request: LoginRequest): HbaConnection {
  return {
    local: request.clientAddress === undefined,
    address: request.clientAddress,
    tls: request.tls,
    user: request.user,
    database: request.database,
    physicalReplication: request.physicalReplication,
  }
}
