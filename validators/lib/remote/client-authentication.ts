/**
 * How we prove to a provider who is asking (RFC 6749 §2.3.1, RFC 7523 §2.2, RFC 8705 §2).
 *
 * @module
 */
import { createPrivateKey, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { z } from 'zod'
import { CLOCK } from '../clock.ts'
import { Fault } from '../refusal.ts'
import { SettingsError } from '../settings/parse-settings.ts'
import { readSecret, secret, text } from '../settings/values.ts'

const withSecret = { client_id: text, client_secret: secret }

/** `client_auth = { method = "client_secret_basic", client_id = "…", client_secret = { file = "…" } }` */
export const clientAuthentication = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('client_secret_basic'), ...withSecret }),
  z.strictObject({ method: z.literal('client_secret_post'), ...withSecret }),
  z.strictObject({
    method: z.literal('private_key_jwt'),
    client_id: text,
    /** PKCS#8 PEM. */
    private_key: secret,
    alg: z.enum(['RS256', 'PS256', 'ES256', 'EdDSA']),
    kid: text.optional(),
    /** Default: the issuer. */
    audience: text.optional(),
  }),
  /** The certificate is `http.client_cert`. */
  z.strictObject({ method: z.literal('tls_client_auth'), client_id: text }),
  /** `client_id` is for whom signed answers (RFC 9701) are. The file is read again for each question. */
  z.strictObject({ method: z.literal('bearer'), client_id: text.optional(), token: secret }),
])

export type ClientAuthentication = z.output<typeof clientAuthentication>

/** What a request carries so that the provider knows us. */
export interface Credentials {
  readonly headers: Readonly<Record<string, string>>
  readonly parameters: Readonly<Record<string, string>>
}

const ASSERTION_SECONDS = 60

/**
 * Reads the secrets now, so that a missing one stops the start, and returns what makes the credentials
 * of one request.
 */
export async function createCredentials(
  settings: ClientAuthentication,
  issuer: string,
  baseDirectory: string,
): Promise<() => Promise<Credentials>> {
  const read = (place: z.output<typeof secret>, name: string): Promise<string> =>
    readSecret(place, `client_auth.${name}`, baseDirectory)
  switch (settings.method) {
    case 'client_secret_basic': {
      const password = await read(settings.client_secret, 'client_secret')
      const pair = `${formEncode(settings.client_id)}:${formEncode(password)}`
      const authorization = `Basic ${Buffer.from(pair).toString('base64')}`
      return fixed({ headers: { authorization }, parameters: {} })
    }
    case 'client_secret_post': {
      const password = await read(settings.client_secret, 'client_secret')
      return fixed({
        headers: {},
        parameters: { client_id: settings.client_id, client_secret: password },
      })
    }
    case 'bearer': {
      const { token } = settings
      if ((await read(token, 'token')) === '') {
        throw new SettingsError('client_auth.token: is empty')
      }
      return bearer(() => read(token, 'token'))
    }
    case 'tls_client_auth':
      return fixed({ headers: {}, parameters: { client_id: settings.client_id } })
    case 'private_key_jwt':
      return assertions(settings, await read(settings.private_key, 'private_key'), issuer)
  }
}

function fixed(credentials: Credentials): () => Promise<Credentials> {
  return () => Promise.resolve(credentials)
}

/** Kubernetes puts a new token into the file every hour. */
function bearer(read: () => Promise<string>): () => Promise<Credentials> {
  return async () => {
    const token = await read().catch((error: unknown) => {
      const why =
        error instanceof SettingsError ? error.message : 'client_auth.token: cannot be read'
      throw new Fault('provider_auth_failed', why)
    })
    return { headers: { authorization: `Bearer ${token}` }, parameters: {} }
  }
}

function assertions(
  settings: Extract<ClientAuthentication, { method: 'private_key_jwt' }>,
  pem: string,
  issuer: string,
): () => Promise<Credentials> {
  const key = privateKey(pem)
  const { alg, kid, client_id: id, audience = issuer } = settings
  return async () => {
    const now = Math.floor(CLOCK.seconds())
    const assertion = await new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
      .setIssuer(id)
      .setSubject(id)
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + ASSERTION_SECONDS)
      .sign(key)
    return {
      headers: {},
      parameters: {
        client_id: id,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      },
    }
  }
}

function privateKey(pem: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem)
  } catch {
    throw new SettingsError('client_auth.private_key: is not a private key in PEM')
  }
}

/** RFC 6749 appendix B: what is joined with a colon is form-encoded first. */
function formEncode(value: string): string {
  return new URLSearchParams({ v: value }).toString().slice(2)
}
