/**
 * HTTP for tokens: no redirects, no proxies, no kept connections, bounded answers, an authority of the
 * user's own if wanted.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import http from 'node:http'
import https from 'node:https'
import { OAuthConnectionError, OAuthGrantError, messageOf } from '../errors.ts'

/** MAX_OAUTH_RESPONSE_SIZE in libpq's `oauth-curl.c`. */
export const MAX_RESPONSE_LENGTH: number = 256 * 1024

const REQUEST_TIMEOUT_MS = 30_000

/** What a request needs; the part of `fetch`'s options that is used here. */
export interface BoundedRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | URLSearchParams | null | undefined
  readonly signal?: AbortSignal | undefined
  /** Authorities to trust instead of Node's, PEM. */
  readonly ca?: string | Buffer | undefined
}

/**
 * Fetches one URL. A redirect is an answer like any other.
 *
 * @throws OAuthConnectionError if there is no answer; OAuthGrantError if it is too large.
 */
export async function boundedFetch(url: string, request: BoundedRequest = {}): Promise<Response> {
  const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  const signal = request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout])
  try {
    return await exchange(new URL(url), request, signal)
  } catch (error) {
    request.signal?.throwIfAborted()
    if (error instanceof OAuthGrantError) {
      throw error
    }
    const text = timeout.aborted ? 'no answer in time' : messageOf(error)
    throw new OAuthConnectionError(`request to ${originOf(url)} failed: ${text}`, { step: 'http' })
  }
}

/** Scheme, host and port: paths and queries can hold secrets. */
export function originOf(url: string): string {
  return new URL(url).origin
}

function exchange(url: URL, request: BoundedRequest, signal: AbortSignal): Promise<Response> {
  const text = request.body ?? undefined
  const body = text === undefined ? undefined : Buffer.from(text.toString())
  const client = url.protocol === 'http:' ? http : https
  return new Promise((resolve, reject) => {
    const outgoing = client.request(
      url,
      {
        method: request.method ?? 'GET',
        headers: {
          ...request.headers,
          ...(body === undefined ? {} : { 'content-length': body.length }),
        },
        // An agent of its own: Node's may be told to use a proxy by the environment.
        agent: false,
        signal,
        ...(request.ca === undefined ? {} : { ca: request.ca }),
      },
      (incoming) => {
        collect(incoming).then((bytes) => resolve(responseOf(incoming, bytes)), reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function collect(incoming: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_RESPONSE_LENGTH) {
      incoming.destroy()
      throw new OAuthGrantError('response is too large')
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function responseOf(incoming: http.IncomingMessage, bytes: Buffer): Response {
  const status = incoming.statusCode ?? 0
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) {
    // The body says why; a challenge header would hide it from oauth4webapi.
    if (typeof value === 'string' && name !== 'www-authenticate') {
      headers.set(name, value)
    }
  }
  const empty = status === 204 || status === 205 || status === 304
  return new Response(empty ? null : new Uint8Array(bytes), { status, headers })
}
