/**
 * The JSON that a client without a good token gets (`auth-oauth.c: generate_error_response()`).
 *
 * @module
 */
import { type ByteString, toBytes } from '../byte-string.ts'

/** libpq refuses Authentication messages above 2000 bytes, of which eight are length and code. */
export const MAX_DISCOVERY_RESPONSE_BYTES = 1992

const WELL_KNOWN = '/.well-known/'
const OPENID_CONFIGURATION = '/.well-known/openid-configuration'

/**
 * PostgreSQL's error response, byte for byte: fixed order, fixed blanks, no newline.
 *
 * An issuer that contains `/.well-known/` is sent as it is; any other gets
 * `/.well-known/openid-configuration` appended, without looking at trailing slashes.
 *
 * @param issuer - the rule's `issuer`, as written.
 * @param scope - the rule's `scope`, as written; may be empty.
 */
export function discoveryResponse(issuer: ByteString, scope: ByteString): Buffer {
  const uri = issuer.includes(WELL_KNOWN) ? issuer : `${issuer}${OPENID_CONFIGURATION}`
  const json = `{ "status": "invalid_token", "openid-configuration": ${quote(uri)}, "scope": ${quote(scope)} }`
  return toBytes(json as ByteString)
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '"': '\\"',
  '\\': '\\\\',
}

// escape_json(): bytes from 0x80 are copied, a slash is not escaped.
function quote(text: string): string {
  const escaped = text.replace(
    /[\u0000-\u001f"\\]/g,
    (byte) => SHORT_ESCAPES[byte] ?? `\\u${byte.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `"${escaped}"`
}
