/**
 * What a rule asks of the client's certificate: that there is one (`clientcert`), and for whom
 * (`verify-full`, and the method `cert`) (`auth.c: ClientAuthentication()`, `CheckCertAuth()`).
 *
 * @module
 */
import { fromText, toText } from '../byte-string.ts'
import type { Rules } from '../config/rules.ts'
import {
  CertificateAuthenticationError,
  InvalidAuthorizationError,
  OAuthAuthenticationError,
  type ReportError,
} from '../errors.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import { checkUsermap } from '../ident/check-usermap.ts'
import type { Log } from '../log.ts'
import { logAuthentication } from './log-authentication.ts'
import type { LoginRequest } from './login-request.ts'
import { matchedLine } from './matched-line.ts'

/**
 * Before anything is asked of the client.
 *
 * @throws InvalidAuthorizationError where the rule wants a certificate and there is none.
 */
export function requireCertificate(line: HbaLine, request: LoginRequest): void {
  if (line.clientCert !== undefined && request.clientCertificate === undefined) {
    throw new InvalidAuthorizationError('connection requires a valid client certificate', {
      ...matchedLine(line),
      reason: 'no_client_certificate',
    })
  }
}

/**
 * After the method has succeeded: the certificate's name must be, or map to, the role.
 *
 * @returns the refusal, or undefined.
 */
export function refuseByCertificate(
  rules: Rules,
  request: LoginRequest,
  { line, log }: { readonly line: HbaLine; readonly log: Log },
): ReportError | undefined {
  if (line.clientCert !== 'verify-full') {
    return undefined
  }
  const certificate = request.clientCertificate
  const name = line.clientName === 'CN' ? certificate?.commonName : certificate?.distinguishedName
  const user = toText(request.user)
  if (certificate === undefined || name === undefined || name === '') {
    return refusal(
      line,
      user,
      `certificate authentication failed for user "${user}": client certificate contains no user name`,
    )
  }
  if (line.method === 'cert') {
    // Always the whole subject, even where only its CN decides.
    logAuthentication(rules, log, { identity: certificate.distinguishedName, line })
  }
  const mapped = checkUsermap({
    lines: rules.identLines,
    map: line.map,
    systemUser: fromText(name),
    role: request.user,
    memberships: rules.memberships,
  })
  if (mapped.ok === true) {
    return undefined
  }
  const mismatch =
    line.method === 'cert'
      ? ''
      : `\ncertificate validation (clientcert=verify-full) failed for user "${user}": ${line.clientName} mismatch`
  return refusal(line, user, `${mapped.message}${mismatch}`)
}

function refusal(line: HbaLine, user: string, detail: string): ReportError {
  const options = { ...matchedLine(line, detail), reason: 'certificate_mismatch' }
  return line.method === 'oauth'
    ? new OAuthAuthenticationError(user, options)
    : new CertificateAuthenticationError(user, line.method, options)
}
