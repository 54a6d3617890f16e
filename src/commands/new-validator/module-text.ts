/**
 * The text of a new module: it checks tokens of a small format with a signature, so that there is something to
 * change that works.
 *
 * @module
 */

/** The module, in JavaScript or TypeScript. */
export function moduleText(name: string, typescript: boolean): string {
  const ts = (text: string): string => (typescript ? text : '')
  const doc = (text: string): string => (typescript ? '' : text)
  return `/**
 * Checks tokens of the form PAYLOAD.SIGNATURE: base64url of a JSON object, and its HMAC-SHA-256 as base64url.
 * Replace readToken() by what your tokens need; every check below it is one that a validator may not lack.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
${ts("import type { ValidatorInit, ValidatorResult } from 'pgbearer/validator'\n")}
const MIN_KEY_LENGTH = 32
${ts(`
interface Claims {
  iss?: unknown
  aud?: unknown
  sub?: unknown
  scope?: unknown
  exp?: unknown
}
`)}
/**
 * Runs once, when pgbearer loads the module. A throw here stops the start, or leaves a reload without effect.
 *${doc(`
 * @type {import('pgbearer/validator').ValidatorInit}
 *`)} @param settings - the table [validators.${name}] of pgbearer.toml
 */
${typescript ? 'const init: ValidatorInit = (settings, context) => {' : 'const init = (settings, context) => {'}
  const audience = setting(settings, 'audience')
  const keyFile = resolve(context.baseDirectory, setting(settings, 'key_file'))
  const key = readFileSync(keyFile, 'utf8').trim()
  if (key.length < MIN_KEY_LENGTH) {
    throw new Error(\`key_file "\${keyFile}" needs at least \${MIN_KEY_LENGTH} characters\`)
  }

  return {
    apiVersion: 1,

    /** Runs once for each login. What it returns besides \`authorized\` and \`authnId\` goes to the log only. */
    validate(_state, request) {
      if (request.delegateIdentMapping) {
        return refused('delegation', 'this module does not decide who may be which role')
      }
      const claims = readToken(request.token, key)
      if (claims === undefined) {
        return refused('forged', 'the signature is wrong')
      }
      if (typeof claims.exp !== 'number' || claims.exp * 1000 <= Date.now()) {
        return refused('expired', 'the token has expired')
      }
      if (claims.iss !== request.issuer) {
        return refused('wrong_issuer', 'the token is of another issuer')
      }
      if (claims.aud !== audience) {
        return refused('wrong_audience', 'the token is for another service')
      }
      const scopes = typeof claims.scope === 'string' ? claims.scope.split(' ') : []
      if (!request.scope.every((scope) => scopes.includes(scope))) {
        return refused('insufficient_scope', 'the token lacks a scope of the rule')
      }
      if (typeof claims.sub !== 'string' || claims.sub === '') {
        return refused('no_identity', 'the token does not say whose it is')
      }
      // Who it is: the token says so, never request.role. Which role that may be is for the rules and maps.
      return { authorized: true, authnId: claims.sub, expiresAt: claims.exp }
    },
  }
}
export default init

${doc(`/** @param {string} code @param {string} errorDetail */
`)}function refused(code${ts(': string')}, errorDetail${ts(': string')})${ts(': ValidatorResult')} {
  return { authorized: false, code, errorDetail }
}

${doc(`/** @param {Readonly<Record<string, unknown>>} settings @param {string} name */
`)}function setting(settings${ts(': Readonly<Record<string, unknown>>')}, name${ts(': string')})${ts(': string')} {
  const value = settings[name]
  if (typeof value !== 'string' || value === '') {
    throw new Error(\`"\${name}" is missing\`)
  }
  return value
}

/** The claims of a token with a good signature.${doc(' @param {string} token @param {string} key')} */
function readToken(token${ts(': string')}, key${ts(': string')})${ts(': Claims | undefined')} {
  const [payload = '', signature = '', ...rest] = token.split('.')
  const expected = createHmac('sha256', key).update(payload).digest('base64url')
  // As text: two spellings of one signature are two tokens. In constant time: it is a secret.
  const good =
    rest.length === 0 &&
    signature.length === expected.length &&
    timingSafeEqual(Buffer.from(signature), Buffer.from(expected))
  return good ? JSON.parse(Buffer.from(payload, 'base64url').toString()) : undefined
}
`
}
