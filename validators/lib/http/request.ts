/**
 * One request to a provider, with everything bounded: who it may go to, how long it may take, how
 * much may come back. Redirects, compression and proxies from the environment are not followed; a proxy
 * has to be in the settings.
 *
 * @module
 */
import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  JsonError,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  parseJsonArray,
  parseJsonObject,
} from '../json.ts'
import { Fault } from '../refusal.ts'
import { EgressError, guardedLookup, isAllowedAddress, isLoopbackHost } from './egress.ts'
import type { HttpPolicy } from './policy.ts'
import { secureOver, tunnelTo } from './tunnel.ts'

export interface ProviderRequest {
  readonly url: URL
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** Never part of an error. */
  readonly body?: string
  readonly maxBytes: number
  readonly signal: AbortSignal
}

export interface ProviderResponse {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/**
 * Sends one request.
 *
 * @throws {Fault} `provider_unavailable`, `provider_bad_response` or `timeout`; the message names the
 *   address and never what was sent or received
 */
export async function send(
  request: ProviderRequest,
  policy: HttpPolicy,
): Promise<ProviderResponse> {
  const { url } = request
  request.signal.throwIfAborted()
  const timeout = AbortSignal.timeout(policy.timeoutMs)
  const signal = AbortSignal.any([request.signal, timeout])
  let tunnel: Duplex | undefined
  try {
    tunnel = await tunnelFor(request.url, policy, signal)
    const message = start(request, { policy, signal, tunnel })
    return await receive(message, request)
  } catch (error) {
    tunnel?.destroy()
    if (error instanceof Fault) {
      throw error
    }
    if (timeout.aborted) {
      throw new Fault('timeout', `${where(url)} did not answer within ${policy.timeoutMs} ms`)
    }
    const problem = `cannot reach ${where(url)}: ${reason(error)}`
    throw new Fault('provider_unavailable', problem, { cause: error })
  }
}

/** The body as one JSON object; see {@link parseJsonObject}. */
export function jsonBody(response: ProviderResponse, url: URL): JsonObject {
  return parsed(response, url, (body) => parseJsonObject(body, ANSWER_LIMITS))
}

/** The body as one JSON array, such as a page of a list. */
export function jsonList(response: ProviderResponse, url: URL): readonly JsonValue[] {
  return parsed(response, url, (body) => parseJsonArray(body, LIST_LIMITS))
}

function parsed<T>({ headers, body }: ProviderResponse, url: URL, parse: (body: Buffer) => T): T {
  if (!/^[a-z]+\/([a-z0-9.-]+\+)?json *(;|$)/i.test(headers['content-type'] ?? '')) {
    throw new Fault('provider_bad_response', `${where(url)} did not answer with JSON`)
  }
  try {
    return parse(body)
  } catch (error) {
    if (error instanceof JsonError) {
      throw new Fault('provider_bad_response', `the answer of ${where(url)} is ${error.message}`)
    }
    throw error
  }
}

/** An address without what could be secret in it. */
export function where(url: URL): string {
  return `${url.origin}${url.pathname}`
}

// Metadata of large providers has a few hundred members; certificates in a key are long strings.
const ANSWER_LIMITS: JsonLimits = { depth: 16, members: 4096, items: 4096, string: 65_536 }
// A hundred teams of GitHub, each with its organization and its parent.
const LIST_LIMITS: JsonLimits = { depth: 8, members: 32_768, items: 4096, string: 65_536 }

/** The connection through a proxy, where one is configured and needed. */
async function tunnelFor(
  url: URL,
  policy: HttpPolicy,
  signal: AbortSignal,
): Promise<Duplex | undefined> {
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  // No name is looked up for an address, so it is checked here.
  if (isIP(hostname) !== 0 && !isAllowedAddress(hostname, policy.egress)) {
    throw new EgressError(hostname, policy.egress)
  }
  const { proxy } = policy
  return proxy === undefined || url.protocol !== 'https:' || isLoopbackHost(hostname)
    ? undefined
    : await tunnelTo(url, { proxy, policy, signal })
}

interface Way {
  readonly policy: HttpPolicy
  readonly signal: AbortSignal
  readonly tunnel: Duplex | undefined
}

/** Not async: whoever calls it has to listen for errors before anything else happens. */
function start(request: ProviderRequest, { policy, signal, tunnel }: Way): ClientRequest {
  const { url, method = 'GET', body } = request
  const secure = url.protocol === 'https:'
  const message = (secure ? httpsRequest : httpRequest)(url, {
    method,
    signal,
    ...(tunnel === undefined
      ? { agent: policy.agent(secure), lookup: guardedLookup(policy.egress, !secure) }
      : { createConnection: () => secureOver(tunnel, url, policy) }),
    headers: {
      accept: 'application/json',
      'accept-encoding': 'identity',
      'user-agent': policy.userAgent,
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
      ...request.headers,
    },
    ...(secure ? policy.tls : {}),
  })
  limitConnecting(message, policy, secure)
  message.end(body)
  return message
}

function limitConnecting(message: ClientRequest, policy: HttpPolicy, secure: boolean): void {
  message.once('socket', (socket) => {
    if (!socket.connecting) {
      return
    }
    socket.setTimeout(policy.connectTimeoutMs, () => {
      message.destroy(new Error(`no connection within ${policy.connectTimeoutMs} ms`))
    })
    socket.once(secure ? 'secureConnect' : 'connect', () => socket.setTimeout(0))
  })
}

function receive(message: ClientRequest, request: ProviderRequest): Promise<ProviderResponse> {
  return new Promise((resolve, reject) => {
    const refuse = (problem: string): void => {
      reject(new Fault('provider_bad_response', `${where(request.url)} ${problem}`))
      message.destroy()
    }
    message.once('error', reject)
    message.once('response', (response) => {
      const chunks: Buffer[] = []
      let received = 0
      response.once('error', reject)
      // Ends a body that stops half-way; after 'end' it changes nothing.
      response.once('close', () => reject(new Error('the answer ended early')))
      if ((response.headers['content-encoding'] ?? 'identity') !== 'identity') {
        refuse('sent a compressed answer, which was not asked for')
        return
      }
      if (Number(response.headers['content-length'] ?? 0) > request.maxBytes) {
        refuse(`sent more than ${request.maxBytes} bytes`)
        return
      }
      response.on('data', (chunk: Buffer) => {
        received += chunk.length
        chunks.push(chunk)
        if (received > request.maxBytes) {
          refuse(`sent more than ${request.maxBytes} bytes`)
        }
      })
      response.once('end', () => {
        const { statusCode = 0, headers } = response
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks) })
      })
    })
  })
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) {
    return 'unknown error'
  }
  const code = (error as NodeJS.ErrnoException).code
  return code === undefined || error.message.includes(code)
    ? error.message
    : `${error.message} (${code})`
}
