/**
 * How we talk to one provider, and whom we talk to at all.
 *
 * @module
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { ConnectionOptions } from 'node:tls'
import { Fault } from '../refusal.ts'
import { type Egress, isLoopbackHost } from './egress.ts'
import type { ProxyPolicy } from './tunnel.ts'

export interface HttpPolicy {
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly egress: Egress
  /** `host:port`, lower case. */
  readonly allowedHosts: ReadonlySet<string>
  readonly allowHttp: boolean
  readonly tls: Readonly<ConnectionOptions>
  readonly userAgent: string
  readonly maxMetadataBytes: number
  readonly maxKeySetBytes: number
  readonly maxAnswerBytes: number
  /** Read again for each request; for key sets that want a Kubernetes service account. */
  readonly bearerToken: (() => Promise<string>) | undefined
  /** Undefined: providers are connected to directly. Hosts of this machine always are. */
  readonly proxy: ProxyPolicy | undefined
  readonly agent: (secure: boolean) => HttpAgent | HttpsAgent
}

/** One connection a request: what is fetched once in five minutes needs no pool. */
export function singleUseAgents(): HttpPolicy['agent'] {
  const http = new HttpAgent({ keepAlive: false })
  const https = new HttpsAgent({ keepAlive: false, maxCachedSessions: 0 })
  return (secure) => (secure ? https : http)
}

/** `host:port` of a URL, the port written out. */
export function hostAndPort(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === 'http:' ? '80' : '443')}`
}

/** Why a URL may not be asked, or undefined. Hosts are judged by {@link vetUrl}. */
export function problemOfUrl(url: URL, allowHttp: boolean): string | undefined {
  if (url.protocol === 'http:') {
    return allowHttp && isLoopbackHost(url.hostname)
      ? undefined
      : 'must begin with https:// (http://, on this machine only, needs dangerously_allow_http)'
  }
  if (url.protocol !== 'https:') {
    return 'must begin with https://'
  }
  return url.username !== '' || url.password !== '' || url.hash !== ''
    ? 'must not contain a user name or a fragment'
    : undefined
}

/**
 * A URL that a provider's metadata names, if we may follow it there.
 *
 * @throws {Fault} `provider_bad_response`
 */
export function vetUrl(text: unknown, what: string, policy: HttpPolicy): URL {
  if (typeof text !== 'string' || !URL.canParse(text)) {
    throw new Fault('provider_bad_response', `the provider's metadata has no usable ${what}`)
  }
  const url = new URL(text)
  const problem = problemOfUrl(url, policy.allowHttp)
  if (problem !== undefined) {
    throw new Fault('provider_bad_response', `the provider's ${what} ${problem}`)
  }
  if (!policy.allowedHosts.has(hostAndPort(url))) {
    throw new Fault(
      'provider_bad_response',
      `the provider's ${what} is on "${hostAndPort(url)}", which is not in http.allowed_hosts`,
    )
  }
  return url
}
