/**
 * The `oauth` method: SASL, then the validator, then delegation or the user map
 * (`auth-oauth.c: validate()`).
 *
 * @module
 */
import { type AuthorizedSession, authorizeSession } from '../authorized-session.ts'
import { toText, toUtf8 } from '../byte-string.ts'
import type { OAuthRule, Rules } from '../config/rules.ts'
import { InternalError, type ReportError, type SilentProtocolViolationError } from '../errors.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import type { Log } from '../log.ts'
import type { Conversation, ConversationStep } from '../sasl/conversation.ts'
import type { Decider, Decision } from '../sasl/mechanism.ts'
import { oauthbearer } from '../sasl/oauthbearer.ts'
import { passwordConversation } from '../sasl/password-conversation.ts'
import { saslConversation } from '../sasl/sasl-conversation.ts'
import {
  openValidatorSession,
  ValidatorFaultError,
  type ValidatorSession,
} from '../validator/host.ts'
import {
  judgeToken,
  type TokenAcceptance,
  type TokenRefusal,
  tokenRefusedError,
} from './judge-token.ts'
import type { ConversationLogin, LoginOptions } from './login.ts'
import type { LoginRequest } from './login-request.ts'

interface OAuthLoginOptions {
  readonly line: HbaLine
  readonly signal: AbortSignal
  readonly log: Log
  /** Keep the token until it is taken or the login is closed. */
  readonly keepToken: boolean
  readonly onValidated?: LoginOptions['onValidated']
}

/** What is left of a login once it is over, apart from it: a session keeps it until it ends. */
class OAuthLoginEnd {
  readonly #validator: ValidatorSession
  readonly #log: Log
  /** The token that was accepted, until somebody takes it. */
  token: string | undefined
  /** A refusal whose last message the client has not been sent. */
  pending: ReportError | undefined

  constructor(validator: ValidatorSession, log: Log) {
    this.#validator = validator
    this.#log = log
  }

  readonly close = async (): Promise<void> => {
    this.token = undefined
    this.#logPending()
    await this.#validator.shutdown()
  }

  // Whoever tries tokens need not wait for the end of the exchange, and must not go unseen for that.
  // PostgreSQL 18 logs a refusal when it is decided, 19 only with the message that ends the exchange.
  #logPending(): void {
    const refusal = this.pending
    this.pending = undefined
    if (refusal !== undefined) {
      const { code, reason, logDetail: detail, logFields } = refusal
      this.#log.log(refusal.message, { code, reason, detail, ...logFields })
    }
  }
}

/** A login by OAUTHBEARER, or by a token in a password. */
export class OAuthLogin implements ConversationLogin, Decider<AuthorizedSession, ReportError> {
  readonly kind = 'conversation'
  readonly line: HbaLine
  readonly conversation: Conversation<AuthorizedSession>
  readonly #rules: Rules
  readonly #rule: OAuthRule
  readonly #request: LoginRequest
  readonly #log: Log
  readonly #signal: AbortSignal
  readonly #validator: ValidatorSession
  readonly #onValidated: LoginOptions['onValidated']
  readonly #keepToken: boolean
  readonly #end: OAuthLoginEnd
  #startupFault: ValidatorFaultError | undefined

  constructor(
    rules: Rules,
    request: LoginRequest,
    { line, signal, log, keepToken, onValidated }: OAuthLoginOptions,
  ) {
    const rule = rules.oauth.get(line)
    if (rule === undefined) {
      throw new InternalError('an oauth rule without a validator')
    }
    this.line = line
    this.#rules = rules
    this.#rule = rule
    this.#request = request
    this.#log = log
    this.#signal = signal
    this.#keepToken = keepToken
    this.#onValidated = onValidated
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
    this.#end = new OAuthLoginEnd(this.#validator, log)
    this.conversation = this.#watched(
      line.oauth?.tokenInPassword
        ? passwordConversation(this)
        : saslConversation({
            mechanism: oauthbearer(rule.discovery, this),
            user: this.#user,
            decider: this,
          }),
    )
  }

  get close(): () => Promise<void> {
    return this.#end.close
  }

  takeToken(): string | undefined {
    const { token } = this.#end
    this.#end.token = undefined
    return token
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
    if (this.#startupFault !== undefined) {
      const { reason, logDetail } = this.#startupFault
      this.#onValidated?.({ kind: 'internal_error', reason, logDetail })
      return this.#refuse({ detail: logDetail, reason: 'validator_fault' })
    }
    const role = toUtf8(this.#request.user)
    if (role === undefined) {
      return this.#refuse({ detail: 'The role name is not UTF-8.', reason: 'role_not_utf8' })
    }
    const outcome = await this.#validator.validate({
      token,
      role,
      issuer: this.#rule.issuer,
      scope: this.#rule.scope,
      options: this.#rule.options,
      delegateIdentMapping: this.line.oauth?.delegateIdentMapping === true,
    })
    this.#onValidated?.(outcome)
    const judged = judgeToken(outcome, {
      rules: this.#rules,
      line: this.line,
      role: this.#request.user,
      log: this.#log,
    })
    if (judged.authorized !== true) {
      return this.#refuse(judged)
    }
    this.#end.token = this.#keepToken ? token : undefined
    return this.#accept(judged)
  }

  malformed(detail: string): ReportError {
    this.#log.log('malformed OAuth bearer token', { detail, sqlState: '08P01' })
    return this.#error({ detail, reason: 'token_malformed' })
  }

  broken(cause: SilentProtocolViolationError): ReportError {
    return this.#error({ detail: cause.message, reason: 'malformed_message', cause })
  }

  get #user(): string {
    return toText(this.#request.user)
  }

  #accept({ authnId, expiresAt }: TokenAcceptance): Decision<AuthorizedSession, ReportError> {
    const { user: role, database } = this.#request
    return {
      authorized: true,
      accepted: authorizeSession({ role, database, line: this.line, authnId, expiresAt }),
    }
  }

  #refuse(refusal: TokenRefusal): Decision<AuthorizedSession, ReportError> {
    const error = this.#error(refusal)
    // A client that was gone before the answer has not been refused anything.
    this.#end.pending = this.#signal.aborted ? undefined : error
    return { authorized: false, refused: error }
  }

  #watched(conversation: Conversation<AuthorizedSession>): Conversation<AuthorizedSession> {
    type Step = ConversationStep<AuthorizedSession>
    const watch = <Next extends Step | undefined>(step: Next): Next => {
      if (step?.kind === 'refused' && step.error === this.#end.pending) {
        this.#end.pending = undefined
      }
      return step
    }
    return {
      start: async () => watch(await conversation.start()),
      push: async (chunk) => watch(await conversation.push(chunk)),
      end: async () => watch(await conversation.end()),
    }
  }

  #error(refusal: TokenRefusal): ReportError {
    return tokenRefusedError(refusal, this.line, this.#request.user)
  }
}
