/**
 * How a client proves to an authorization server who it is.
 *
 * @module
 */
import type { webcrypto } from 'node:crypto'
import { type ClientAuth, None, PrivateKeyJwt } from 'oauth4webapi'

/** How a client proves who it is. */
export type ClientAuthentication =
  /** HTTP Basic, the default with a secret; the client id is then not in the body (Okta refuses it). */
  | 'basic'
  /** `client_id` and `client_secret` in the body. */
  | 'post'
  /** `private_key_jwt` (RFC 7523). */
  | { readonly privateKey: webcrypto.CryptoKey; readonly keyId?: string | undefined }

/** The authentication that the options describe; none without a secret or a key. */
export function clientAuthentication(options: {
  readonly clientSecret?: string | undefined
  readonly clientAuthentication?: ClientAuthentication | undefined
}): ClientAuth {
  const { clientSecret, clientAuthentication: how = 'basic' } = options
  if (typeof how === 'object') {
    const { privateKey: key, keyId: kid } = how
    return PrivateKeyJwt(kid === undefined ? key : { key, kid })
  }
  if (clientSecret === undefined) {
    return None()
  }
  return how === 'post' ? inBody(clientSecret) : inHeader(clientSecret)
}

// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
function inHeader(secret: string): ClientAuth {
  return (_as, client, body, headers) => {
    const encode = (text: string): string => new URLSearchParams({ x: text }).toString().slice(2)
    const pair = `${encode(client.client_id)}:${encode(secret)}`
    headers.set('authorization', `Basic ${Buffer.from(pair).toString('base64')}`)
    body.delete('client_id')
  }
}

function inBody(secret: string): ClientAuth {
  return (_as, client, body) => {
    body.set('client_id', client.client_id)
    body.set('client_secret', secret)
  }
}
