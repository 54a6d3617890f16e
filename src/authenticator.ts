/**
 * Rules, SASL, validator and maps as one thing without sockets: what an embedder uses, and what
 * `session.ts` uses.
 *
 * @module
 */
import { AuthorizedSession, authorizeSession } from './authorized-session.ts'
import { type ByteString, fromText, toText, toUtf8 } from './byte-string.ts'
import { settingsFromObject } from './config/load-settings.ts'
import { loadRules, type OAuthRule, type Rules } from './config/rules.ts'
import type { SettingsInput } from './config/settings.ts'
import {
  HbaRejectError,
  InternalError,
  NoHbaEntryError,
  OAuthAuthenticationError,
  PasswordAuthenticationError,
  type ReportError,
} from './errors.ts'
import { findHbaLine } from './hba/find-hba-line.ts'
import type { HbaConnection, HbaLine } from './hba/hba-line.ts'
import { hbaRejectMessage, noHbaEntryMessage } from './hba/hba-messages.ts'
import { checkUsermap } from './ident/check-usermap.ts'
import { createLog, type Log } from './log.ts'
import { type Conversation, NOTHING } from './sasl/conversation.ts'
import type { Decider, Decision } from './sasl/mechanism.ts'
import { oauthbearer } from './sasl/oauthbearer.ts'
import { passwordConversation } from './sasl/password-conversation.ts'
import { saslConversation } from './sasl/sasl-conversation.ts'
import { disposeValidators } from './validator/dispose-validators.ts'
import {
  openValidatorSession,
  ValidatorFaultError,
  type ValidatorSession,
} from './validator/host.ts'
import type { DecidedOutcome } from './validator/validation-outcome.ts'

/** Who is at the door, as the socket and the startup packet say. */
export interface LoginRequest {
  /** Unique in the life of the process; names the connection in the log. */
  readonly id: string
  /** The requested role. A string is taken as UTF-8. */
  readonly user: ByteString
  /** Empty for physical replication. */
  readonly database: ByteString
  readonly physicalReplication: boolean
  /** Numeric address; undefined for a Unix socket (or anything else that is local). */
  readonly clientAddress: string | undefined
  readonly tls: boolean
}

export interface LoginOptions {
  /** Aborts at the login deadline, when the client leaves and at shutdown. */
  readonly signal: AbortSignal
  readonly log?: Log
}

/** A login under way. */
export interface Login {
  /** The rule that decides. */
  readonly line: HbaLine
  readonly conversation: Conversation<AuthorizedSession>
  /** Call it when the login is over, however it ended: the validator's `shutdown` runs. */
  close(): Promise<void>
}

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

/** The authenticator of rules that are loaded. */
export function authenticatorOf(rules: Rules, defaultLog: Log): Authenticator {
  return {
    async begin(request, { signal, log = defaultLog }) {
      const line = await findLine(rules, request, signal)
      switch (line.method) {
        case 'oauth':
          return new OAuthLogin(rules, request, { line, signal, log })
        case 'trust':
          return trustLogin(request, line)
        case 'reject':
        case 'cert':
        case 'upstream':
          throw new HbaRejectError(hbaRejectMessage(connectionOf(request)), {
            ...matched(line),
            reason: 'hba_reject',
          })
      }
    },
    [Symbol.asyncDispose]: () => disposeValidators(rules.validators, { log: defaultLog }),
  }
}

function connectionOf(request: LoginRequest): HbaConnection {
  return {
    local: request.clientAddress === undefined,
    address: request.clientAddress,
    tls: request.tls,
    user: request.user,
    database: request.database,
    physicalReplication: request.physicalReplication,
  }
}

async function findLine(
  { hbaLines, memberships }: Rules,
  request: LoginRequest,
  signal: AbortSignal,
): Promise<HbaLine> {
  const connection = connectionOf(request)
  const found = await findHbaLine(hbaLines, connection, { memberships, signal })
  if (found.line === undefined) {
    throw new NoHbaEntryError(noHbaEntryMessage(connection), {
      ...(found.hostNameDetail === undefined ? {} : { logDetail: found.hostNameDetail }),
      reason: 'no_hba_entry',
    })
  }
  return found.line
}

// The raw line is left out where it holds values for a validator: they may be secrets.
function matched(
  line: HbaLine,
  reason?: string,
): { logDetail: string; logFields: Readonly<Record<string, unknown>> } {
  const where = `Connection matched file "${line.file}" line ${line.line}`
  const raw = toText(line.raw)
  const text = raw.includes('validator.') ? where : `${where}: "${raw}"`
  return {
    logDetail: reason === undefined ? text : `${reason}\n${text}`,
    logFields: { hba: { file: line.file, line: line.line } },
  }
}

function trustLogin(request: LoginRequest, line: HbaLine): Login {
  const refuse = async (): Promise<never> => {
    throw new InternalError('a trust login has no messages')
  }
  return {
    line,
    conversation: {
      start: async () => ({
        kind: 'accepted',
        send: NOTHING,
        accepted: authorizeSession({ role: request.user, database: request.database, line }),
        unread: NOTHING,
      }),
      push: refuse,
      end: async () => undefined,
    },
    close: async () => {},
  }
}

interface OAuthLoginOptions {
  readonly line: HbaLine
  readonly signal: AbortSignal
  readonly log: Log
}

class OAuthLogin implements Login, Decider<AuthorizedSession, ReportError> {
  readonly line: HbaLine
  readonly conversation: Conversation<AuthorizedSession>
  readonly #rules: Rules
  readonly #rule: OAuthRule
  readonly #request: LoginRequest
  readonly #log: Log
  readonly #validator: ValidatorSession
  #startupFault: ValidatorFaultError | undefined

  constructor(rules: Rules, request: LoginRequest, { line, signal, log }: OAuthLoginOptions) {
    const rule = rules.oauth.get(line)
    if (rule === undefined) {
      throw new InternalError('an oauth rule without a validator')
    }
    this.line = line
    this.#rules = rules
    this.#rule = rule
    this.#request = request
    this.#log = log
    this.#validator = openValidatorSession(rule.validator, {
      connection: {
        id: request.id,
        database: toText(request.database),
        clientAddress: request.clientAddress,
        tls: request.tls,
      },
      log,
      signal,
    })
    this.conversation = line.oauth?.tokenInPassword
      ? passwordConversation(this.#user, this)
      : saslConversation({
          mechanism: oauthbearer(rule.discovery, this),
          user: this.#user,
          begin: () => this.begin(),
        })
  }

  async close(): Promise<void> {
    await this.#validator.shutdown()
  }

  /** A module that fails here fails the login, but only once there is a token: discovery goes on. */
  async begin(): Promise<void> {
    try {
      await this.#validator.startup()
    } catch (error) {
      if (!(error instanceof ValidatorFaultError)) {
        throw error
      }
      this.#startupFault = error
    }
  }

  async decide(token: string): Promise<Decision<AuthorizedSession, ReportError>> {
    const role = toUtf8(this.#request.user)
    if (this.#startupFault !== undefined || role === undefined) {
      return this.#refuse(
        this.#startupFault?.logDetail ?? 'The role name is not UTF-8.',
        this.#startupFault === undefined ? 'role_not_utf8' : 'validator_fault',
      )
    }
    const outcome = await this.#validator.validate({
      token,
      role,
      issuer: this.#rule.issuer,
      scope: this.#rule.scope,
      options: this.#rule.options,
      delegateIdentMapping: this.#delegated,
    })
    if (outcome.kind === 'internal_error') {
      return this.#refuse(outcome.logDetail, `validator_${outcome.reason}`)
    }
    this.#recordIdentity(outcome)
    return outcome.authorized === true
      ? this.#authorizeRole(outcome)
      : this.#refuse(
          outcome.errorDetail ?? 'Validator failed to authorize the provided token.',
          outcome.code ?? 'token_refused',
          outcome.authnId,
        )
  }

  malformed(detail: string): ReportError {
    this.#log.log('malformed OAuth bearer token', { detail, sqlState: '08P01' })
    return this.#error(detail, 'token_malformed')
  }

  get #user(): string {
    return toText(this.#request.user)
  }

  get #delegated(): boolean {
    return this.line.oauth?.delegateIdentMapping === true
  }

  // Before any decision, as in auth-oauth.c validate(): set_authn_id() also for a token that is refused.
  #recordIdentity({ authnId }: DecidedOutcome): void {
    if (authnId !== undefined && this.#logsAuthentication) {
      this.#log.log(
        `connection authenticated: identity="${authnId}" method=oauth (${this.line.file}:${this.line.line})`,
        { authnId },
      )
    }
  }

  get #logsAuthentication(): boolean {
    const { logConnections } = this.#rules
    return logConnections.includes('authentication') || logConnections.includes('all')
  }

  /** Delegation, then the user map (steps d to g of `validate()`). */
  #authorizeRole(outcome: DecidedOutcome): Decision<AuthorizedSession, ReportError> {
    const { authnId } = outcome
    if (this.#delegated) {
      if (authnId === undefined && this.#logsAuthentication) {
        this.#log.log(
          `connection authenticated: user="${this.#user}" method=oauth (${this.line.file}:${this.line.line})`,
        )
      }
      return this.#accept(outcome)
    }
    if (authnId === undefined || authnId === '') {
      return this.#refuse('Validator provided no identity.', 'no_identity', authnId)
    }
    const mapped = checkUsermap({
      lines: this.#rules.identLines,
      map: this.line.map,
      systemUser: fromText(authnId),
      role: this.#request.user,
      memberships: this.#rules.memberships,
    })
    return mapped.ok === true
      ? this.#accept(outcome)
      : this.#refuse(mapped.message, mapped.reason, authnId)
  }

  #accept({ authnId, expiresAt }: DecidedOutcome): Decision<AuthorizedSession, ReportError> {
    const { user: role, database } = this.#request
    return {
      authorized: true,
      accepted: authorizeSession({ role, database, line: this.line, authnId, expiresAt }),
    }
  }

  #refuse(
    detail: string,
    reason: string,
    authnId?: string,
  ): Decision<AuthorizedSession, ReportError> {
    return { authorized: false, refused: this.#error(detail, reason, authnId) }
  }

  #error(detail: string, reason: string, authnId?: string): ReportError {
    const { logDetail, logFields } = matched(this.line, detail)
    const options = { reason, logDetail, logFields: { ...logFields, authnId } }
    return this.line.oauth?.tokenInPassword
      ? new PasswordAuthenticationError(this.#user, options)
      : new OAuthAuthenticationError(this.#user, options)
  }
}

export { AuthorizedSession }
