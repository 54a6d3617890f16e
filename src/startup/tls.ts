/**
 * TLS on an accepted socket.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { constants } from 'node:crypto'
import type net from 'node:net'
import tls from 'node:tls'
import { SilentProtocolViolationError } from '../errors.ts'

/** The ALPN protocol name of PostgreSQL (`PG_ALPN_PROTOCOL` in `pqcomm.h`). */
export const ALPN_PROTOCOL = 'postgresql'

/** The TLS side of a server, made once and shared by all its connections. */
export interface ServerTls {
  /**
   * Runs the handshake of one connection.
   *
   * @throws SilentProtocolViolationError where it fails: the client is told by TLS alone.
   */
  accept(raw: net.Socket): Promise<tls.TLSSocket>
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
  const server = tls.createServer({
    cert: options.cert,
    key: options.key,
    minVersion: options.minVersion ?? 'TLSv1.2',
    // No session tickets: libpq does not resume sessions, and sealing them is a fifth of a handshake.
    // TLS 1.3 still sends two that hold nothing; no session is kept that they could resume.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    honorCipherOrder: true,
    ALPNProtocols: [ALPN_PROTOCOL],
    requestCert: options.ca !== undefined,
    rejectUnauthorized: false,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  })
  const handshakes = new Map<string, (socket: tls.TLSSocket) => void>()
  server.on('secureConnection', (socket) => handshakes.get(addressPair(socket))?.(socket))
  // Which one failed is seen at its own socket, which is destroyed then.
  const failures = new Map<string, Error>()
  server.on('tlsClientError', (error, socket) => failures.set(addressPair(socket), error))
  return {
    async accept(raw) {
      const pair = addressPair(raw)
      try {
        const socket = await handshake(server, raw, (done) => handshakes.set(pair, done))
        socket.allowHalfOpen = true
        if (options.ca !== undefined) {
          checkPeerCertificate(socket)
        }
        return socket
      } catch (error) {
        throw error instanceof SilentProtocolViolationError
          ? error
          : handshakeFailed(failures.get(pair))
      } finally {
        handshakes.delete(pair)
        failures.delete(pair)
      }
    },
  }
}

/** What a socket and the TLS socket made of it have in common. */
function addressPair({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

/** Gives a connection to the server as if it had accepted it, which the event is documented for. */
async function handshake(
  server: tls.Server,
  raw: net.Socket,
  onSecure: (done: (socket: tls.TLSSocket) => void) => void,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    if (raw.destroyed) {
      reject(handshakeFailed())
      return
    }
    const closed = (): void => reject(new Error('closed'))
    raw.on('close', closed)
    onSecure((socket) => {
      raw.off('close', closed)
      resolve(socket)
    })
    // A client may end its side in the middle of the handshake and wait for us to do the same.
    raw.allowHalfOpen = false
    server.emit('connection', raw)
  })
}

// PostgreSQL ends the handshake of a client whose certificate it cannot verify, whatever the rules say.
function checkPeerCertificate(socket: tls.TLSSocket): void {
  const shown = socket.getPeerX509Certificate()
  if (shown !== undefined && !socket.authorized) {
    socket.destroy()
    throw new SilentProtocolViolationError('could not accept SSL connection', {
      logDetail: `certificate verify failed: ${String(socket.authorizationError)}`,
    })
  }
}

function handshakeFailed(cause?: Error): SilentProtocolViolationError {
  return new SilentProtocolViolationError('could not accept SSL connection', {
    cause,
    logDetail: cause?.message ?? 'EOF detected',
  })
}

/** The names in a client's certificate; undefined where the client showed none. */
export function clientCertificate(
  socket: tls.TLSSocket | undefined,
): { commonName: string | undefined; distinguishedName: string } | undefined {
  const certificate = socket?.authorized === true ? socket.getPeerX509Certificate() : undefined
  if (socket === undefined || certificate === undefined) {
    return undefined
  }
  const names: unknown = socket.getPeerCertificate().subject?.CN
  const commonName: unknown = Array.isArray(names) ? names[0] : names
  return {
    // CVE-2009-4034: a name with a NUL in it is no name.
    commonName:
      typeof commonName === 'string' && !commonName.includes('\0') ? commonName : undefined,
    distinguishedName: rfc2253(certificate.subject),
  }
}

/**
 * Node writes an attribute a line, in the certificate's order; RFC 2253 begins with the last. PostgreSQL
 * also has bytes above 0x7F escaped (XN_FLAG_RFC2253 in `be-secure-openssl.c`).
 */
function rfc2253(subject: string): string {
  const escaped = subject.replace(/[^\0-\x7f]/gu, (character) =>
    Array.from(Buffer.from(character), (byte) => `\\${byte.toString(16).toUpperCase()}`).join(''),
  )
  return escaped.split('\n').reverse().join(',')
}
