import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: http.IncomingHttpHeaders
  readonly form: Record<string, string>
}

/** An answer: JSON, or exactly this. `hang` never answers, `drop` cuts the connection. */
export type Answer =
  | { readonly status?: number; readonly json: unknown }
  | {
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body?: string
    }
  | 'hang'
  | 'drop'

export type Route = (seen: Seen, count: number) => Answer

export interface ScriptedIssuer extends AsyncDisposable {
  readonly issuer: string
  readonly seen: Seen[]
  /** Requests to one path. */
  at(path: string): Seen[]
}

/** An authorization server (or metadata service) that does what a test says. */
export async function scriptedIssuer(
  routes: Readonly<Record<string, Route>> = {},
  options: {
    readonly metadata?: (issuer: string) => Record<string, unknown>
    readonly tls?: { cert: string; key: string }
  } = {},
): Promise<ScriptedIssuer> {
  const seen: Seen[] = []
  let issuer = ''
  const well: Route = () => ({
    json: {
      issuer,
      token_endpoint: `${issuer}/token`,
      device_authorization_endpoint: `${issuer}/device`,
      authorization_endpoint: `${issuer}/authorize`,
      revocation_endpoint: `${issuer}/revoke`,
      ...options.metadata?.(issuer),
    },
  })
  const all: Readonly<Record<string, Route>> = {
    '/.well-known/openid-configuration': well,
    ...routes,
  }
  const listener: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', issuer)
      const one: Seen = {
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        form: Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString())),
      }
      seen.push(one)
      const count = seen.filter(({ path }) => path === one.path).length
      const answer = all[one.path]?.(one, count) ?? { status: 404 }
      if (answer === 'hang') {
        return
      }
      if (answer === 'drop') {
        response.destroy()
        return
      }
      if ('json' in answer) {
        response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(answer.json))
        return
      }
      response.writeHead(answer.status, answer.headers)
      response.end(answer.body)
    })
  }
  const server =
    options.tls === undefined
      ? http.createServer(listener)
      : https.createServer(options.tls, listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const scheme = options.tls === undefined ? 'http' : 'https'
  issuer = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    issuer,
    seen,
    at: (path) => seen.filter((one) => one.path === path),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What a token endpoint answers when all is well. */
export const tokenAnswer = (accessToken: string, more: object = {}): Answer => ({
  json: { access_token: accessToken, token_type: 'Bearer', ...more },
})

/** What it answers when it is not. */
export const refusal = (error: string, description?: string, status = 400): Answer => ({
  status,
  json: { error, ...(description === undefined ? {} : { error_description: description }) },
})
