/**
 * The `http` table of a validator that talks to a provider.
 *
 * @module
 */
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { z } from 'zod'
import { SettingsError } from '../settings/parse-settings.ts'
import { duration, readSecret, readText, secret, text } from '../settings/values.ts'
import { type HttpPolicy, singleUseAgents } from './policy.ts'
import type { ProxyPolicy } from './tunnel.ts'

const proxy = z
  .strictObject({
    /** `http://host:port`: what goes through it is TLS. */
    url: z.url({ protocol: /^http$/, error: 'must be an http:// URL' }),
    username: text.optional(),
    password: secret.optional(),
    /** Names that only the proxy knows: then nobody judges their addresses. */
    allow_remote_names: z.boolean().default(false),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    error: 'username and password belong together',
  })
  // RFC 7617 §2: what follows would be taken for the password.
  .refine(({ username }) => username?.includes(':') !== true, {
    error: 'username must not contain a colon',
  })
  .refine(({ url }) => isPlainProxyUrl(new URL(url)), {
    error: 'url must not contain a user name or a path',
  })

function isPlainProxyUrl(url: URL): boolean {
  return `${url.username}${url.password}${url.search}${url.hash}` === '' && url.pathname === '/'
}

export const httpSettings = z
  .strictObject({
    /** For one request with everything it waits for. */
    timeout: duration.default(5_000),
    connect_timeout: duration.default(2_000),
    /** Hosts besides the issuer's that its metadata may send us to: `host` or `host:port`. */
    allowed_hosts: z.array(text).default([]),
    /** PEM file with the certificate authorities, instead of those of Node. */
    ca: text.optional(),
    /** PEM files to authenticate with (mutual TLS). */
    client_cert: text.optional(),
    client_key: text.optional(),
    min_tls: z.enum(['1.2', '1.3']).default('1.2'),
    /** The name in the server's certificate, where it is not the host's. */
    server_name: text.optional(),
    /** Carries our TLS connections to providers on other machines. */
    proxy: proxy.optional(),
    egress: z.enum(['public', 'private', 'any']).default('public'),
    max_metadata_bytes: z.int().positive().max(16_777_216).default(65_536),
    max_jwks_bytes: z.int().positive().max(16_777_216).default(262_144),
    max_answer_bytes: z.int().positive().max(16_777_216).default(65_536),
    /** Sent as a bearer token to the key set's address; read again for each request. */
    bearer_token_file: text.optional(),
    user_agent: text.default('pgbearer'),
    /** Plain http, to this machine only. */
    dangerously_allow_http: z.boolean().default(false),
  })
  .refine((http) => (http.client_cert === undefined) === (http.client_key === undefined), {
    error: 'client_cert and client_key belong together',
  })

export type HttpSettings = z.output<typeof httpSettings>

/**
 * @param hosts - `host:port` that the settings name elsewhere, such as the issuer's
 * @throws {SettingsError} for a file that cannot be read, holds no certificate, or holds another key than
 *   that of the certificate
 */
export async function createHttpPolicy(
  settings: HttpSettings,
  hosts: readonly string[],
  baseDirectory: string,
): Promise<HttpPolicy> {
  const read = (file: string | undefined, name: string): Promise<string | undefined> =>
    file === undefined ? Promise.resolve(undefined) : readText(file, `http.${name}`, baseDirectory)
  const ca = await read(settings.ca, 'ca')
  const cert = await read(settings.client_cert, 'client_cert')
  const key = await read(settings.client_key, 'client_key')
  if (cert !== undefined && key !== undefined) {
    checkPair(cert, key)
  }
  const tokenFile = settings.bearer_token_file
  return {
    timeoutMs: settings.timeout,
    connectTimeoutMs: settings.connect_timeout,
    egress: settings.egress,
    allowedHosts: new Set([...hosts, ...settings.allowed_hosts.map(withPort)]),
    allowHttp: settings.dangerously_allow_http,
    tls: {
      minVersion: `TLSv${settings.min_tls}`,
      // Said, so that NODE_TLS_REJECT_UNAUTHORIZED=0 in an environment does not say otherwise.
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : { ca: certificates(ca) }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(settings.server_name === undefined ? {} : { servername: settings.server_name }),
    },
    userAgent: settings.user_agent,
    maxMetadataBytes: settings.max_metadata_bytes,
    maxKeySetBytes: settings.max_jwks_bytes,
    maxAnswerBytes: settings.max_answer_bytes,
    bearerToken:
      tokenFile === undefined
        ? undefined
        : async () => (await readFile(resolve(baseDirectory, tokenFile), 'utf8')).trim(),
    proxy: settings.proxy && (await proxyPolicy(settings.proxy, baseDirectory)),
    agent: singleUseAgents(),
  }
}

async function proxyPolicy(
  { url, username, password, allow_remote_names }: z.output<typeof proxy>,
  baseDirectory: string,
): Promise<ProxyPolicy> {
  const { hostname, port } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || '80'),
    authorization:
      password === undefined
        ? undefined
        : basic(username ?? '', await readSecret(password, 'http.proxy.password', baseDirectory)),
    allowRemoteNames: allow_remote_names,
  }
}

/** RFC 7617 §2. */
function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

function withPort(host: string): string {
  return /:\d+$/.test(host) ? host.toLowerCase() : `${host.toLowerCase()}:443`
}

/** A pair that does not fit fails each request, and looks like a provider that is down: say so at start. */
function checkPair(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key })
  } catch {
    throw new SettingsError('http.client_cert: does not belong to the key in http.client_key')
  }
}

/** TLS ignores what it cannot read in a CA file, and then trusts nobody: say so at start. */
function certificates(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  try {
    for (const certificate of found) {
      void new X509Certificate(certificate)
    }
  } catch {
    throw new SettingsError('http.ca: a certificate in the file is broken')
  }
  if (found.length === 0) {
    throw new SettingsError('http.ca: the file holds no certificate')
  }
  return found
}
