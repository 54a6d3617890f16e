/**
 * The loopback end of an authorization code login (RFC 8252 §7.3): one short-lived HTTP server that
 * sends the browser to the authorization server and takes the answer.
 *
 * @module
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import dns from 'node:dns/promises'
import http from 'node:http'
import net from 'node:net'
import { OAuthConnectionError, OAuthGrantError, TokenConfigError } from '../errors.ts'
import { isLoopback } from '../connect/endpoint.ts'
import { printable } from '../grants/printable.ts'
import { failurePage, notFoundPage, successPage } from './redirect-pages.ts'

const MAX_FORM_LENGTH = 64 * 1024

const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'self'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

/** What the redirect is checked against. */
export interface RedirectExpectations {
  /** Random, of this login. */
  readonly state: string
  /** Checks `iss` (RFC 9207) and the rest; throws if the answer is not to be used. */
  readonly validate: (parameters: URLSearchParams) => URLSearchParams
}

/** One login's server; {@link RedirectServer.close} ends it whatever browsers keep open. */
export class RedirectServer {
  /** As registered with the authorization server, with the port that is listened on. */
  readonly redirectUri: string
  /** A local page with a random path that sends the browser to the authorization server. */
  readonly startUrl: string
  /** Resolves when a browser has opened {@link RedirectServer.startUrl}. */
  readonly opened: Promise<void>
  /** The validated parameters of the redirect. */
  readonly answered: Promise<URLSearchParams>
  readonly #servers: readonly http.Server[]
  readonly #paths: { readonly start: string; readonly redirect: string; readonly done: string }
  #expected: (RedirectExpectations & { readonly authorizationUrl: string }) | undefined
  #used = false
  #onOpened: () => void = () => {}
  #onAnswer: (parameters: URLSearchParams) => void = () => {}
  #onFailure: (error: unknown) => void = () => {}

  constructor(servers: readonly http.Server[], redirectUri: URL) {
    this.#servers = servers
    this.redirectUri = redirectUri.href
    const random = randomBytes(16).toString('hex')
    this.#paths = { start: `/${random}`, redirect: redirectUri.pathname, done: `/${random}/done` }
    this.startUrl = new URL(this.#paths.start, redirectUri).href
    this.opened = new Promise((resolve) => {
      this.#onOpened = resolve
    })
    this.answered = new Promise((resolve, reject) => {
      this.#onAnswer = resolve
      this.#onFailure = reject
    })
    this.answered.catch(() => {})
    for (const server of servers) {
      server.on('request', (request, response) => {
        this.#serve(request, response).catch(() => response.destroy())
      })
    }
  }

  /** Says where the browser is sent and what is expected to come back. */
  expect(authorizationUrl: string, expectations: RedirectExpectations): void {
    this.#expected = { ...expectations, authorizationUrl }
  }

  async close(): Promise<void> {
    this.#onFailure(new OAuthConnectionError('the login was given up', { step: 'redirect' }))
    await Promise.all(this.#servers.map((server) => closed(server)))
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.redirectUri)
    const { start, redirect, done } = this.#paths
    if (url.pathname === start && this.#expected !== undefined && request.method === 'GET') {
      this.#onOpened()
      // The URL of the authorization server is never an argument of a program.
      answer(response, 307, { location: this.#expected.authorizationUrl })
      return
    }
    if (url.pathname === redirect) {
      await this.#redirected(request, response, url)
      return
    }
    if (url.pathname === done && request.method === 'GET') {
      answer(response, 200, {}, successPage())
      return
    }
    answer(response, 404, {}, notFoundPage())
  }

  async #redirected(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    url: URL,
  ): Promise<void> {
    const parameters = await parametersOf(request, url)
    if (parameters === undefined) {
      answer(response, 405, { allow: 'GET, POST' }, failurePage('This method is not allowed.'))
      return
    }
    const expected = this.#expected
    if (expected === undefined || !equal(parameters.get('state') ?? '', expected.state)) {
      answer(response, 403, {}, failurePage('This answer does not belong to a login of yours.'))
      return
    }
    if (this.#used) {
      answer(response, 403, {}, failurePage('This answer was used already.'))
      return
    }
    this.#used = true
    const refusal = refusalOf(parameters)
    if (refusal !== undefined) {
      answer(response, 200, {}, failurePage(refusal.message))
      this.#onFailure(refusal)
      return
    }
    try {
      this.#onAnswer(expected.validate(parameters))
    } catch {
      // What was wrong may be quoted from the redirect.
      const error = new OAuthGrantError('the answer of the authorization server is not valid')
      answer(response, 403, {}, failurePage(error.message))
      this.#onFailure(error)
      return
    }
    // A clean address: no code in the history, and nothing to send twice.
    answer(response, 303, { location: this.#paths.done })
  }
}

/**
 * Listens where the redirect URI says: an address, or every loopback address a name stands for, all on
 * one port. Port 0 takes any.
 *
 * @throws TokenConfigError if nobody can listen there.
 */
export async function listenForRedirect(redirectUri: string): Promise<RedirectServer> {
  const url = parseRedirectUri(redirectUri)
  const addresses = await loopbackAddresses(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const servers: http.Server[] = []
  let port = url.port === '' ? 80 : Number(url.port)
  try {
    for (const address of addresses) {
      const server = http.createServer()
      servers.push(server)
      port = await listening(server, address, port)
    }
  } catch (error) {
    await Promise.all(servers.map((server) => closed(server)))
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    throw new TokenConfigError(`could not listen at ${url.origin} for the redirect: ${code}`)
  }
  url.port = String(port)
  return new RedirectServer(servers, url)
}

function parseRedirectUri(redirectUri: string): URL {
  const url = URL.canParse(redirectUri) ? new URL(redirectUri) : undefined
  const usable =
    url !== undefined &&
    url.protocol === 'http:' &&
    url.search === '' &&
    url.hash === '' &&
    url.username === '' &&
    url.pathname !== '/'
  if (!usable) {
    throw new TokenConfigError('the redirect URI must be http://<loopback host>:<port>/<path>')
  }
  return url
}

async function loopbackAddresses(host: string): Promise<readonly string[]> {
  const found =
    net.isIP(host) === 0
      ? await dns.lookup(host, { all: true }).catch(() => [])
      : [{ address: host }]
  const addresses = [...new Set(found.map(({ address }) => address))]
  if (addresses.length === 0 || !addresses.every((address) => isLoopback(address))) {
    throw new TokenConfigError(`the redirect host "${printable(host)}" is not this machine`)
  }
  return addresses
}

function listening(server: http.Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => {
      resolve((server.address() as net.AddressInfo).port)
    })
  })
}

function closed(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

function answer(
  response: http.ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  page = '',
): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    'content-type': 'text/html; charset=utf-8',
    connection: 'close',
    ...headers,
  })
  response.end(page)
}

async function parametersOf(
  request: http.IncomingMessage,
  url: URL,
): Promise<URLSearchParams | undefined> {
  if (request.method === 'GET') {
    return url.searchParams
  }
  const type = request.headers['content-type'] ?? ''
  if (request.method !== 'POST' || !type.startsWith('application/x-www-form-urlencoded')) {
    return undefined
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_FORM_LENGTH) {
      return undefined
    }
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
}

// RFC 6749 §4.1.2.1: error and error_description are NQSCHAR; anything else in them is dropped.
function refusalOf(parameters: URLSearchParams): OAuthGrantError | undefined {
  const nqschars = (text: string): string => text.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '')
  const error = parameters.get('error')
  if (error === null) {
    return undefined
  }
  const code = nqschars(error)
  const description = nqschars(parameters.get('error_description') ?? '')
  const said = description === '' ? code : `${description} (${code})`
  return new OAuthGrantError(`the login was refused: ${printable(said)}`, { error: code })
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
