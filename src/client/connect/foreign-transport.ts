/**
 * Whether a token may travel on a connection that somebody else has opened. A driver's settings are no
 * proof of what it did with them, so the socket itself is looked at.
 *
 * @module
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { type Endpoint, insecure, isLoopback, isUnix } from './endpoint.ts'
import type { LoginPlan } from './options.ts'
import { warnInsecure } from './secure-transport.ts'

/**
 * Waits for a TLS handshake that is going on. A stream that ends meanwhile is not waited for.
 *
 * @throws the signal's reason.
 */
export async function handshakeOf(stream: Duplex, signal: AbortSignal): Promise<void> {
  if (!(stream instanceof tls.TLSSocket) || stream.destroyed) {
    return
  }
  // Node sets one of the two when the handshake is over, and the second is null before.
  if (stream.authorized || (stream.authorizationError as unknown) !== null) {
    return
  }
  await new Promise<void>((resolve, reject) => {
    const over = (): void => {
      signal.removeEventListener('abort', over)
      stream.off('secureConnect', over).off('close', over)
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      resolve()
    }
    stream.once('secureConnect', over).once('close', over)
    signal.addEventListener('abort', over)
  })
}

/**
 * Refuses a connection that is neither TLS with chain and host name verified, nor a Unix socket, nor
 * what the user explicitly accepted instead.
 *
 * @param name - what the certificate must be for.
 * @throws InsecureTransportError
 */
export function assertTokenMayTravel(
  stream: Duplex,
  endpoint: Endpoint,
  name: string,
  plan: LoginPlan,
): void {
  const fault = faultOf(stream, endpoint, name, plan)
  if (fault === undefined) {
    return
  }
  if (!plan.allowInsecureTransport) {
    throw insecure(endpoint, fault)
  }
  warnInsecure(endpoint, plan)
}

function faultOf(
  stream: Duplex,
  endpoint: Endpoint,
  name: string,
  { loopbackOnly }: LoginPlan,
): string | undefined {
  if (stream instanceof tls.TLSSocket) {
    return certificateFault(stream, name)
  }
  if (!(stream instanceof net.Socket)) {
    return 'nobody can tell whether the connection is encrypted'
  }
  const { remoteAddress } = stream
  if (isUnix(endpoint) && remoteAddress === undefined) {
    return undefined
  }
  if (loopbackOnly) {
    return isLoopback(remoteAddress)
      ? undefined
      : 'the connection is not encrypted and not to this machine'
  }
  return 'the connection is not encrypted'
}

function certificateFault(stream: tls.TLSSocket, name: string): string | undefined {
  if (!stream.authorized) {
    return 'its certificate was not verified'
  }
  // Again, because `checkServerIdentity` is one of the options that the driver was given.
  return tls.checkServerIdentity(name, stream.getPeerCertificate())?.message
}
