/**
 * `connection authenticated: …` (`auth.c: set_authn_id()`, `ClientAuthentication()`).
 *
 * @module
 */
import type { Rules } from '../config/rules.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { Log } from '../log.ts'

/** Who was authenticated: an identity, or, where there is none, the role itself. */
export type Authenticated = { readonly identity: string } | { readonly user: string }

/** Logs it where `log_connections` wants it, also for an identity that is refused afterwards. */
export function logAuthentication(
  { logConnections }: Pick<Rules, 'logConnections'>,
  log: Log,
  { line, ...who }: Authenticated & { readonly line: HbaLine },
): void {
  if (!logConnections.includes('authentication') && !logConnections.includes('all')) {
    return
  }
  const where = `method=${line.method} (${line.file}:${line.line})`
  if ('identity' in who) {
    log.log(`connection authenticated: identity="${who.identity}" ${where}`, {
      authnId: who.identity,
    })
  } else {
    log.log(`connection authenticated: user="${who.user}" ${where}`)
  }
}
