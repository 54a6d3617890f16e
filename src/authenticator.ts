/**
 * Rules, SASL, validator and maps as one thing without sockets: what an embedder uses, and what
 * `session.ts` uses.
 *
 * @module
 */
import { authorizeSession } from './authorized-session.ts'
import { toText } from './byte-string.ts'
import { settingsFromObject } from './config/load-settings.ts'
import { loadRules, type Rules } from './config/rules.ts'
import type { SettingsInput } from './config/settings.ts'
import { HbaRejectError, NoHbaEntryError } from './errors.ts'
import { hbaRejectMessage, noHbaEntryMessage } from './hba/hba-messages.ts'
import type { HbaLine } from './hba/hba-line.ts'
import { createLog, type Log } from './log.ts'
import { refuseByCertificate, requireCertificate } from './login/certificate-check.ts'
import { immediateConversation } from './login/immediate-login.ts'
import type { ConversationLogin, Login, LoginOptions } from './login/login.ts'
import { connectionOf, type LoginRequest } from './login/login-request.ts'
import { logAuthentication } from './login/log-authentication.ts'
import { matchedLine } from './login/matched-line.ts'
import { OAuthLogin } from './login/oauth-login.ts'
import { withLastCheck } from './sasl/last-check.ts'
import { disposeValidators } from './validator/dispose-validators.ts'

export interface Authenticator {
  /**
   * Finds the rule for a connection and starts its conversation.
   *
   * @throws NoHbaEntryError, HbaRejectError
   */
  begin(request: LoginRequest, options: LoginOptions): Promise<Login>
  /** Ends what the validators hold. Logins that are under way must be closed before. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The settings that decide logins; the others belong to `createServer()`. */
export type AuthenticatorOptions = Pick<
  SettingsInput,
  | 'hba_file'
  | 'ident_file'
  | 'oauth_validator_libraries'
  | 'validators'
  | 'validator_hosts'
  | 'role_memberships'
  | 'ssl'
  | 'log_connections'
> & {
  /** Relative paths start here; default: the working directory. */
  readonly baseDirectory?: string
  readonly log?: Log
}

/**
 * Loads rules, maps and validators.
 *
 * @throws ConfigError with every error of every file.
 * @example
 * ```ts
 * const authenticator = await createAuthenticator({
 *   hba_file: 'pg_hba.conf',
 *   oauth_validator_libraries: ['jwt'],
 *   validators: { jwt: { audiences: ['https://db.example.com'] } },
 * })
 * ```
 */
export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { log = createLog(), baseDirectory, ...written } = options
  const settings = settingsFromObject({ ...written, upstream: { host: 'none' } }, baseDirectory)
  return authenticatorOf(await loadRules(settings, log), log)
}

interface AuthenticatorKeeps {
  /** Logins keep an accepted token until it is taken or they are closed. Default: false. */
  readonly keepTokens?: boolean
}

/** The authenticator of rules that are loaded. */
export function authenticatorOf(
  rules: Rules,
  defaultLog: Log,
  { keepTokens = false }: AuthenticatorKeeps = {},
): Authenticator {
  return {
    async begin(request, options) {
      const line = await findLine(rules, request, options)
      requireCertificate(line, request)
      const log = options.log ?? defaultLog
      return startLogin(rules, request, { ...options, line, log, keepToken: keepTokens })
    },
    [Symbol.asyncDispose]: () => disposeValidators(rules.validators, { log: defaultLog }),
  }
}

function startLogin(
  rules: Rules,
  request: LoginRequest,
  context: LoginOptions & {
    readonly line: HbaLine
    readonly log: Log
    readonly keepToken: boolean
  },
): Login {
  const { line } = context
  const close = async (): Promise<void> => {}
  switch (line.method) {
    case 'oauth':
      return checked(new OAuthLogin(rules, request, context))
    case 'trust':
    case 'cert':
      return checked({
        kind: 'conversation',
        line,
        conversation: immediateConversation(line, request),
        close,
      })
    case 'upstream':
      return {
        kind: 'upstream',
        line,
        acceptedByServer: () => {
          const { user: role, database } = request
          logAuthentication(rules, context.log, { user: toText(role), line })
          return authorizeSession({ role, database, line })
        },
        close,
      }
    case 'reject':
      throw new HbaRejectError(hbaRejectMessage(connectionOf(request)), {
        ...matchedLine(line),
        reason: 'hba_reject',
      })
  }

  /** A yes is one only if the certificate agrees. */
  function checked(login: ConversationLogin): ConversationLogin {
    return {
      kind: 'conversation',
      line,
      conversation: withLastCheck(login.conversation, () =>
        refuseByCertificate(rules, request, context),
      ),
      takeToken: () => login.takeToken?.(),
      close: login.close,
    }
  }
}

async function findLine(
  { hba, memberships }: Rules,
  request: LoginRequest,
  { signal, resolver }: LoginOptions,
): Promise<HbaLine> {
  const connection = connectionOf(request)
  const found = await hba.find(connection, {
    memberships,
    signal,
    ...(resolver === undefined ? {} : { resolver }),
  })
  if (found.line === undefined) {
    throw new NoHbaEntryError(noHbaEntryMessage(connection), {
      ...(found.hostNameDetail === undefined ? {} : { logDetail: found.hostNameDetail }),
      reason: 'no_hba_entry',
    })
  }
  return found.line
}
