/**
 * OAUTHBEARER for `pg` as a class of clients, for where the driver's own TLS or stream must stay.
 *
 * The driver opens the connection. Between its handshake and the first message that it would read, the
 * login is done on its own socket; afterwards nothing is left between the driver and the server.
 *
 * @module
 */
import net from 'node:net'
import tls from 'node:tls'
import { loginTimeout } from '../connect/connect-oauth.ts'
import { assertTokenMayTravel, handshakeOf } from '../connect/foreign-transport.ts'
import { ALPN_PROTOCOL } from '../connect/secure-transport.ts'
import { type LoginOutcome, logIn } from '../connect/log-in.ts'
import { LoginTokens } from '../connect/login-tokens.ts'
import { type OAuthLoginOptions, planLogin } from '../connect/options.ts'
import { abortable } from '../connect/secure-transport.ts'
import { OAuthProtocolError, TokenConfigError } from '../errors.ts'
import { HeldConnection } from './held-connection.ts'
import {
  type PgCallback,
  type PgClientClass,
  type PgConnection,
  usableClass,
} from './pg-internals.ts'

/** Options of {@link pgOAuthClient}: TLS is the driver's, so nothing of it is here. */
export type PgClientOAuthOptions = Omit<OAuthLoginOptions, 'tls' | 'sslnegotiation'>

/**
 * A class like `pg.Client` whose clients log in with a token, over connections that `pg` opens with its own
 * `ssl`, `sslmode` and `stream`. All its clients share one provider.
 *
 * The token is sent only where the driver's socket turns out to be TLS with chain and host name verified, or
 * a Unix socket; `insecure` and `allowInsecureTransport` as everywhere. A held token that is refused is
 * replaced once, on a new connection. Rests on methods that `pg` does not document; where it can be used,
 * {@link pgOAuth} does not.
 *
 * @throws TokenConfigError for options that contradict each other, and for a class that is not `pg.Client` as it
 * is known here (`pg.native.Client`, another version).
 *
 * @example
 * ```ts
 * const Client = pgOAuthClient(pg.Client, { token: fetchToken })
 * const pool = new pg.Pool({ Client, connectionString, ssl: { ca } })
 * ```
 */
export function pgOAuthClient<Client extends PgClientClass>(
  Client: Client,
  options: PgClientOAuthOptions,
): Client {
  if ('tls' in options || 'sslnegotiation' in options) {
    throw new TokenConfigError('TLS is the driver’s here: set ssl in the client’s options, not tls')
  }
  const plan = planLogin(options)
  const Base = usableClass(Client)

  class OAuthClient extends Base {
    readonly #stop = new AbortController()
    /** What the driver would open for another client with the same options. */
    readonly #another: () => PgConnection
    #tokens: LoginTokens | undefined

    constructor(config?: unknown) {
      super(config)
      this.#another = () => new Base(config).connection
    }

    override _connect(callback: PgCallback): void {
      if (this._connecting || this._connected) {
        super._connect(callback)
        return
      }
      const { host, port, user, database } = this
      const { signal } = this.#stop
      try {
        this.#tokens = new LoginTokens(plan, { endpoint: { host, port }, user, database, signal })
        this.#open(this.#tokens, callback)
      } catch (error) {
        process.nextTick(callback, error)
      }
    }

    override end(callback?: PgCallback): unknown {
      this.#stop.abort(new Error('Connection terminated'))
      return super.end(callback)
    }

    #open(tokens: LoginTokens, callback: PgCallback): void {
      const held = new HeldConnection(this.connection)
      const timer = setTimeout(() => {
        held.fail(loginTimeout(plan.connectTimeoutMs))
      }, plan.connectTimeoutMs)
      const signal = AbortSignal.any([held.signal, this.#stop.signal])
      held.connection.once('end', () => clearTimeout(timer))
      held.whenReady((packet) => {
        this.#logIn(held, packet, tokens, signal)
          .finally(() => clearTimeout(timer))
          .then(async (goesOn) => {
            if (goesOn) {
              await this.#openAnother(tokens, callback)
            }
          })
          .catch((error: unknown) => held.fail(error))
      })
      super._connect(callback)
    }

    /** Whether the login goes on with another connection. */
    async #logIn(
      held: HeldConnection,
      packet: Buffer,
      tokens: LoginTokens,
      signal: AbortSignal,
    ): Promise<boolean> {
      const { stream } = held.connection
      const { host, port } = this
      const { allows } = plan
      const offer = (lost: AbortSignal) => tokens.offer(lost)
      let outcome: LoginOutcome
      try {
        outcome = await abortable(signal, stream, async () => {
          await handshakeOf(stream, signal)
          assertTokenMayTravel(stream, { host, port }, this.#certificateName(), plan)
          assertProtocolAgreed(held.connection)
          return logIn(stream, packet, { allows, offer, signal })
        })
      } catch (error) {
        if (!tokens.mayRetry(error)) {
          throw error
        }
        return this.#dropConnection(held, error)
      }
      if (outcome.kind === 'authenticated') {
        held.release(outcome.preamble)
        return false
      }
      const { challenge } = outcome
      tokens.learn(challenge)
      return this.#dropConnection(held, undefined)
    }

    /** Leaves a connection to itself; the driver has not heard of how it ended. */
    #dropConnection(held: HeldConnection, refusal: unknown): true {
      const next = this.#another()
      if (!held.isApartFrom(next)) {
        throw (
          refusal ??
          new TokenConfigError('one stream is not enough for this login: make stream a function')
        )
      }
      held.drop()
      clearTimeout(this.connectionTimeoutHandle)
      this.connection = next
      return true
    }

    /** Goes on once there is a token; no connection is open meanwhile. */
    async #openAnother(tokens: LoginTokens, callback: PgCallback): Promise<void> {
      const { stream } = this.connection
      const gone = (): void => this.#stop.abort(new Error('Connection terminated unexpectedly'))
      stream.once('close', gone)
      try {
        await tokens.prepare()
        this.#stop.signal.throwIfAborted()
        stream.off('close', gone)
        this._connecting = false
        this.#open(tokens, callback)
      } catch (error) {
        callback(error)
      }
    }

    #certificateName(): string {
      const { host, ssl } = this
      // pg sets the name to the host's itself, except where that is an address.
      const named = typeof ssl === 'object' && ssl !== null && 'servername' in ssl
      return net.isIP(host) !== 0 && named && typeof ssl.servername === 'string'
        ? ssl.servername
        : host
    }

    // Once is enough: a server that asks again after it has said yes would be sent a password.
    override _handleAuthCleartextPassword(): void {
      this.#refuseToAuthenticate()
    }

    override _handleAuthMD5Password(): void {
      this.#refuseToAuthenticate()
    }

    override _handleAuthSASL(): void {
      this.#refuseToAuthenticate()
    }

    override _handleAuthSASLContinue(): void {
      this.#refuseToAuthenticate()
    }

    override _handleAuthSASLFinal(): void {
      this.#refuseToAuthenticate()
    }

    #refuseToAuthenticate(): void {
      const text = 'server asked for authentication after it had ended'
      this.connection.emit('error', new OAuthProtocolError(text))
      this.connection.stream.destroy()
    }
  }

  return OAuthClient as unknown as Client
}

// The driver asks for it and does not look at the answer. libpq insists: the certificate may be that of a
// server of another protocol (ALPACA).
function assertProtocolAgreed({ stream, sslNegotiation }: PgConnection): void {
  const isDirect = sslNegotiation === 'direct' && stream instanceof tls.TLSSocket
  if (isDirect && stream.alpnProtocol !== ALPN_PROTOCOL) {
    throw new OAuthProtocolError('direct SSL connection was established without ALPN')
  }
}
