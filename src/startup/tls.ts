/**
 * TLS on an accepted socket.
 *
 * @module
 */
import { constants } from 'node:crypto'
import type net from 'node:net'
import tls from 'node:tls'
import { SilentProtocolViolationError } from '../errors.ts'

/** The ALPN protocol name of PostgreSQL (`PG_ALPN_PROTOCOL` in `pqcomm.h`). */
export const ALPN_PROTOCOL = 'postgresql'

/** What a server shows its clients, made once and shared by all connections. */
export interface ServerTls {
  readonly secureContext: tls.SecureContext
  /** Ask for a client certificate; whether one is needed is for the rules to say. */
  readonly requestCert: boolean
}

export interface ServerTlsOptions {
  /** PEM: the certificate and what leads to its issuer. */
  readonly cert: string
  /** PEM. */
  readonly key: string
  /** PEM: who may have issued client certificates (`ssl_ca_file`). */
  readonly ca?: string | undefined
  /** Default `TLSv1.2` (`ssl_min_protocol_version`). */
  readonly minVersion?: tls.SecureVersion | undefined
}

/** Makes the TLS side of a server. Throws where certificate and key are unusable. */
export function createServerTls(options: ServerTlsOptions): ServerTls {
  return {
    secureContext: tls.createSecureContext({
      cert: options.cert,
      key: options.key,
      minVersion: options.minVersion ?? 'TLSv1.2',
      // No session tickets: libpq does not resume sessions, and sealing them is a fifth of a handshake.
      // TLS 1.3 still sends two that hold nothing; no session is kept that they could resume.
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      honorCipherOrder: true,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    }),
    requestCert: options.ca !== undefined,
  }
}

/**
 * Runs the handshake of one connection.
 *
 * @throws SilentProtocolViolationError where it fails: the client is told by TLS alone.
 */
export async function acceptTls(raw: net.Socket, server: ServerTls): Promise<tls.TLSSocket> {
  if (raw.destroyed) {
    throw handshakeFailed()
  }
  const socket = new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: server.secureContext,
    ALPNProtocols: [ALPN_PROTOCOL],
    requestCert: server.requestCert,
    rejectUnauthorized: false,
  })
  await new Promise<void>((resolve, reject) => {
    const fail = (cause?: Error): void => reject(handshakeFailed(cause))
    socket.once('secure', resolve)
    socket.once('_tlsError', fail)
    socket.once('error', fail)
    // A client may end its side in the middle of the handshake and wait for us to do the same.
    socket.once('end', () => fail())
    socket.once('close', () => fail())
    raw.once('close', () => fail())
  })
  return socket
}

function handshakeFailed(cause?: Error): SilentProtocolViolationError {
  return new SilentProtocolViolationError('could not accept SSL connection', {
    cause,
    logDetail: cause?.message ?? 'EOF detected',
  })
}
