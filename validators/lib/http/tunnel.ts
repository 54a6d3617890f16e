/**
 * A way to a provider through a proxy (RFC 9110 §9.3.6, CONNECT). The proxy carries bytes: TLS is between
 * the provider and us, and the provider's certificate is checked as ever.
 *
 * Which address is connected to is the proxy's to say, unless it is told: so names are looked up here,
 * judged by `http.egress`, and the proxy is given the address. Where only the proxy knows the names,
 * `allow_remote_names` leaves that to it.
 *
 * @module
 */
import type { lookup as dnsLookup } from 'node:dns'
import { request as httpRequest } from 'node:http'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as tlsConnect, type TLSSocket } from 'node:tls'
import { abortable } from '../abortable.ts'
import { Fault } from '../refusal.ts'
import { guardedLookup } from './egress.ts'
import type { HttpPolicy } from './policy.ts'

export interface ProxyPolicy {
  readonly host: string
  readonly port: number
  /** Of `Proxy-Authorization`. */
  readonly authorization: string | undefined
  readonly allowRemoteNames: boolean
  /** Default: the system's resolver. */
  readonly resolve?: typeof dnsLookup
}

/**
 * A connection to the host of the URL, still in the clear.
 *
 * @throws {Fault} `provider_unavailable` where the proxy refuses; never with what the proxy wrote
 * @throws {EgressError} for an address that is not allowed
 */
export async function tunnelTo(
  url: URL,
  { proxy, policy, signal }: Tunnel & { readonly signal: AbortSignal },
): Promise<Duplex> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const address =
    isIP(host) !== 0 || proxy.allowRemoteNames
      ? host
      : await abortable(addressOf(host, proxy, policy), signal)
  const target = `${isIP(address) === 6 ? `[${address}]` : address}:${url.port || '443'}`
  return await connectThrough(target, { proxy, policy, signal })
}

/** TLS over a connection to the host of the URL, which has to prove that it is that host. */
export function secureOver(socket: Duplex, url: URL, policy: HttpPolicy): TLSSocket {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const name = isIP(host) === 0 ? { servername: host } : {}
  return tlsConnect({ socket, host, ...name, ...policy.tls })
}

interface Tunnel {
  readonly proxy: ProxyPolicy
  readonly policy: HttpPolicy
}

function addressOf(host: string, proxy: ProxyPolicy, policy: HttpPolicy): Promise<string> {
  return new Promise((resolve, reject) => {
    const lookup = guardedLookup(policy.egress, false, proxy.resolve)
    lookup(host, {}, (error, address) => {
      if (error === null && typeof address === 'string') {
        resolve(address)
      } else {
        reject(error ?? new Error(`no address for "${host}"`))
      }
    })
  })
}

function connectThrough(
  target: string,
  { proxy, policy, signal }: Tunnel & { readonly signal: AbortSignal },
): Promise<Duplex> {
  const { host, port, authorization } = proxy
  return new Promise((resolve, reject) => {
    const refuse = (problem: string): void =>
      reject(new Fault('provider_unavailable', `the proxy ${host}:${port} ${problem}`))
    const message = httpRequest({
      method: 'CONNECT',
      host,
      port,
      path: target,
      agent: false,
      signal,
      headers: {
        host: target,
        'user-agent': policy.userAgent,
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
      },
    })
    message.setTimeout(policy.connectTimeoutMs, () => {
      refuse(`did not connect within ${policy.connectTimeoutMs} ms`)
      message.destroy()
    })
    message.once('error', reject)
    message.once('connect', ({ statusCode = 0 }, socket, head) => {
      socket.setTimeout(0)
      // What goes wrong later is heard by TLS; a socket that nobody listens to would end the process.
      socket.on('error', () => undefined)
      if (statusCode === 200 && head.length === 0) {
        resolve(socket)
        return
      }
      // A provider waits for us to speak first, so bytes that are there already are somebody else's.
      refuse(
        statusCode === 200 ? 'sent bytes of its own' : `answered CONNECT with status ${statusCode}`,
      )
      socket.destroy()
    })
    message.end()
  })
}
