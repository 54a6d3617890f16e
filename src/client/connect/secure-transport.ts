/**
 * A connection that a token may travel on: TLS with chain and host name verified, a Unix socket, or
 * what the user explicitly accepted instead. Decided before anybody asks for a token.
 *
 * @module
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { sslRequest } from '../../protocol/frontend-messages.ts'
import { SocketSource } from '../../stream/socket-source.ts'
import { OAuthConnectionError, OAuthProtocolError, messageOf } from '../errors.ts'
import {
  type Endpoint,
  describeEndpoint,
  insecure,
  isLoopback,
  isUnix,
  openSocket,
} from './endpoint.ts'
import type { LoginPlan, OAuthTlsOptions } from './options.ts'

/** The name of PostgreSQL's protocol in TLS (RFC 7301). */
export const ALPN_PROTOCOL = 'postgresql'

/**
 * Opens a connection to one server.
 *
 * @throws InsecureTransportError if a token may not travel there; OAuthConnectionError if it cannot be
 * reached or TLS fails.
 */
export async function openTransport(
  endpoint: Endpoint,
  plan: LoginPlan,
  signal: AbortSignal,
): Promise<net.Socket> {
  if (!isUnix(endpoint)) {
    assertAcceptable(endpoint, plan)
  }
  const socket = await openSocket(endpoint, signal)
  try {
    if (isUnix(endpoint)) {
      return socket
    }
    if (plan.tls === false) {
      return plainSocket(socket, endpoint, plan)
    }
    return await abortable(signal, socket, () => encrypt(socket, endpoint, plan, plan.tls || {}))
  } catch (error) {
    socket.destroy()
    throw error
  }
}

function assertAcceptable(endpoint: Endpoint, plan: LoginPlan): void {
  const { tls: options, allowInsecureTransport, loopbackOnly } = plan
  if (options !== false) {
    if (options.rejectUnauthorized === false && !allowInsecureTransport) {
      throw insecure(endpoint, 'the certificate would not be verified')
    }
  } else if (!allowInsecureTransport && !loopbackOnly) {
    throw insecure(endpoint, 'the connection would not be encrypted')
  }
  const weak = options === false || options.rejectUnauthorized === false
  if (weak && allowInsecureTransport) {
    warnInsecure(endpoint, plan)
  }
}

/** Tells the log, once for each server, that the user accepted what should not be. */
export function warnInsecure(endpoint: Endpoint, { warned, log }: LoginPlan): void {
  const name = describeEndpoint(endpoint)
  if (!warned.has(name)) {
    warned.add(name)
    log?.warning('tokens are sent over a connection that is not secured', { server: name })
  }
}

function plainSocket(socket: net.Socket, endpoint: Endpoint, plan: LoginPlan): net.Socket {
  if (!plan.allowInsecureTransport && !isLoopback(socket.remoteAddress)) {
    throw insecure(endpoint, 'the connection is not encrypted and not to this machine')
  }
  return socket
}

async function encrypt(
  socket: net.Socket,
  endpoint: Endpoint,
  plan: LoginPlan,
  options: OAuthTlsOptions,
): Promise<net.Socket> {
  const direct = plan.sslnegotiation === 'direct'
  if (!direct) {
    await requestTls(socket, endpoint)
  }
  const secured = tls.connect({
    ...(options.ca === undefined ? {} : { ca: options.ca as string[] }),
    ...(options.cert === undefined ? {} : { cert: options.cert, key: options.key }),
    socket,
    // Checked against the certificate; SNI must not be an address (RFC 6066 §3).
    host: endpoint.host,
    ...serverName(options.servername ?? endpoint.host),
    rejectUnauthorized: options.rejectUnauthorized !== false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: [ALPN_PROTOCOL],
  })
  await handshake(secured, socket, endpoint)
  if (options.rejectUnauthorized !== false && !secured.authorized) {
    throw insecure(endpoint, 'its certificate was not verified')
  }
  if (direct && secured.alpnProtocol !== ALPN_PROTOCOL) {
    throw new OAuthProtocolError('direct SSL connection was established without ALPN')
  }
  return secured
}

function serverName(name: string): { readonly servername?: string } {
  return net.isIP(name) === 0 ? { servername: name } : {}
}

async function requestTls(socket: net.Socket, endpoint: Endpoint): Promise<void> {
  const source = new SocketSource(socket)
  socket.write(sslRequest())
  const answer = (await source.readExactly(1))?.toString('latin1')
  if (answer === undefined) {
    throw new OAuthConnectionError('server closed the connection after the SSL request', {
      step: 'tls',
    })
  }
  if (answer === 'N') {
    throw insecure(endpoint, 'the server does not support SSL')
  }
  if (answer !== 'S') {
    throw new OAuthProtocolError('received invalid response to SSL negotiation')
  }
  // CVE-2021-23222: what came before the handshake was not encrypted.
  if (source.buffered > 0) {
    throw new OAuthProtocolError('received unencrypted data after SSL response')
  }
  source.detach()
}

function handshake(secured: tls.TLSSocket, socket: net.Socket, endpoint: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      secured.destroy()
      reject(certificateError(error, endpoint))
    }
    secured.once('secureConnect', resolve)
    secured.on('error', fail)
    socket.once('close', () => fail(new Error('server closed the connection')))
  })
}

function certificateError(error: Error, endpoint: Endpoint): Error {
  const code = 'code' in error ? String(error.code) : ''
  // Node's codes for a certificate that does not verify: OpenSSL's X509_V_ERR_* names, and its own.
  const refused = /CERT|VERIFY|ISSUER|SELF_SIGNED|ALTNAME|CRL|HOSTNAME_MISMATCH/.test(code)
  return refused
    ? insecure(endpoint, error.message)
    : new OAuthConnectionError(
        `SSL connection to ${describeEndpoint(endpoint)} failed: ${messageOf(error)}`,
        { step: 'tls', cause: error },
      )
}

/** Runs something that reads a socket; the signal destroys the socket, which ends the reading. */
export async function abortable<Value>(
  signal: AbortSignal,
  socket: Duplex,
  run: () => Promise<Value>,
): Promise<Value> {
  const stop = (): void => {
    socket.destroy()
  }
  signal.addEventListener('abort', stop, { once: true })
  try {
    signal.throwIfAborted()
    return await run()
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
