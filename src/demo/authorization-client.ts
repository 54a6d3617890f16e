/**
 * What a program and a browser do at the demo's authorization server, without a browser.
 *
 * @module
 */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'

import { DONE_TITLE } from './authorization-pages.ts'

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** Sends one request; a form makes it a POST. */
export interface HttpClient {
  (
    url: string,
    form?: Readonly<Record<string, string>>,
    headers?: Record<string, string>,
  ): Promise<HttpResponse>
}

const TIMEOUT_MS = 10_000

/**
 * An HTTP client that trusts one certificate authority.
 *
 * @param ca - PEM; undefined where the server has no TLS.
 */
export function httpClient(ca: string | undefined): HttpClient {
  return (url, form, headers = {}) =>
    new Promise((resolve, reject) => {
      const body = form === undefined ? undefined : new URLSearchParams(form).toString()
      const options = {
        method: body === undefined ? 'GET' : 'POST',
        agent: false,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
        },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      }
      const request = url.startsWith('https:')
        ? httpsRequest(url, { ...options, ...(ca === undefined ? {} : { ca }) })
        : httpRequest(url, options)
      request.on('error', reject)
      request.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          text += chunk
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        )
      })
      request.end(body)
    })
}

/** A JSON answer. @throws {Error} with the OAuth error code where it is not 200. */
export async function postForJson(
  http: HttpClient,
  url: string,
  form: Readonly<Record<string, string>>,
  headers?: Record<string, string>,
): Promise<Readonly<Record<string, unknown>>> {
  const { status, body } = await http(url, form, headers)
  const json = JSON.parse(body) as Record<string, unknown>
  if (status !== 200) {
    throw new Error(`${url} answered ${status}: ${String(json['error'])}`)
  }
  return json
}

const MAX_PAGES = 20

/**
 * Does what a person does with the link that a device shows: opens it, confirms the code, logs in as
 * `username`, and allows.
 *
 * @throws {Error} with the last page's title where it does not end well.
 */
export async function approveDevice(
  http: HttpClient,
  verificationUri: string,
  username: string,
): Promise<void> {
  const cookies = new Map<string, string>()
  const visit = async (url: string, form?: Record<string, string>): Promise<HttpResponse> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await http(url, form, { cookie })
    for (const line of [response.headers['set-cookie'] ?? []].flat()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (name !== undefined) {
        cookies.set(name, value ?? '')
      }
    }
    return response
  }
  let url = verificationUri
  let response = await visit(url)
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const location = response.headers['location']
    const form = parseForm(response.body)
    if (typeof location === 'string') {
      url = new URL(location, url).href
      response = await visit(url)
    } else if (form === undefined) {
      break
    } else {
      url = new URL(form.action, url).href
      const fields = 'username' in form.fields ? { ...form.fields, username } : form.fields
      response = await visit(url, fields)
    }
  }
  const title = /<title>([^<]*)/.exec(response.body)?.[1]
  if (title !== DONE_TITLE) {
    throw new Error(`the device login was not approved: ${title ?? response.status}`)
  }
}

/** The first form of a page, with the values it has. */
function parseForm(html: string): { action: string; fields: Record<string, string> } | undefined {
  const form = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(html)
  if (form === null) {
    return undefined
  }
  const fields: Record<string, string> = {}
  for (const [, attributes = ''] of (form[2] ?? '').matchAll(/<input([^>]*)>/g)) {
    const name = attribute(attributes, 'name')
    if (name !== undefined) {
      fields[name] = attribute(attributes, 'value') ?? ''
    }
  }
  return { action: attribute(form[1] ?? '', 'action') ?? '', fields }
}

function attribute(attributes: string, name: string): string | undefined {
  return new RegExp(`\\s${name}="([^"]*)"`).exec(` ${attributes}`)?.[1]
}
