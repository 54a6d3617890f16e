/**
 * What {@link pgOAuthClient} uses of `pg` that `pg` does not document: looked for before anything is done,
 * so that a version without it is refused instead of logging in some other way.
 *
 * @module
 */
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { TokenConfigError } from '../errors.ts'

export type PgCallback = (error?: unknown) => void

/** A connection of a client: `lib/connection.js`. */
export interface PgConnection extends EventEmitter {
  readonly stream: Duplex
  /** `direct`: TLS begins without a request for it; undefined in versions that cannot do that. */
  readonly sslNegotiation?: string | undefined
  /** Sends the StartupMessage, once the transport is there. */
  startup(parameters: unknown): void
  /** Begins to take messages from the stream. */
  attachListeners(stream: unknown): void
}

/** A client: `lib/client.js`. */
export interface PgClient {
  readonly host: string
  readonly port: number
  readonly user: string | undefined
  readonly database: string | undefined
  readonly ssl: unknown
  readonly _connected: boolean
  readonly _ending: boolean
  readonly connectionTimeoutHandle: NodeJS.Timeout | undefined
  _connecting: boolean
  connection: PgConnection
  end(callback?: PgCallback): unknown
  _connect(callback: PgCallback): void
  _handleAuthCleartextPassword(message: unknown): void
  _handleAuthMD5Password(message: unknown): void
  _handleAuthSASL(message: unknown): void
  _handleAuthSASLContinue(message: unknown): void
  _handleAuthSASLFinal(message: unknown): void
}

/** Methods of a client that are called or replaced. */
export const PG_CLIENT_METHODS = [
  'end',
  '_connect',
  '_handleAuthCleartextPassword',
  '_handleAuthMD5Password',
  '_handleAuthSASL',
  '_handleAuthSASLContinue',
  '_handleAuthSASLFinal',
] as const satisfies readonly (keyof PgClient)[]

/** Methods of its connection. */
export const PG_CONNECTION_METHODS = [
  'startup',
  'attachListeners',
] as const satisfies readonly (keyof PgConnection)[]

/** Any class of clients of `pg`, with the types that the application knows it by. */
// oxlint-disable-next-line typescript/no-explicit-any -- what TypeScript demands of a class to extend
export type PgClientClass = new (...parameters: any[]) => object

/**
 * The class with what is used of it.
 *
 * @throws TokenConfigError for a class that lacks any of it, such as `pg.native.Client`.
 */
export function usableClass(Client: PgClientClass): new (config?: unknown) => PgClient {
  const { prototype } = Client as { prototype: unknown }
  assertMethods(prototype, PG_CLIENT_METHODS)
  return Client as new (
    config?: unknown,
  ) => PgClient
}

/** @throws TokenConfigError for a connection that lacks what is used of it. */
export function assertUsable(connection: PgConnection): void {
  assertMethods(connection, PG_CONNECTION_METHODS)
}

function assertMethods(owner: unknown, names: readonly string[]): void {
  for (const name of names) {
    if (typeof (owner as Record<string, unknown> | undefined)?.[name] !== 'function') {
      throw new TokenConfigError(
        `this version of pg has no ${name}(), so pgOAuthClient cannot be used with it; pgOAuth can`,
      )
    }
  }
}
