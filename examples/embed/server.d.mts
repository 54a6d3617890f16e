import type { Server } from 'node:net'
import type { PGlite } from '@electric-sql/pglite'
import type { Authenticator, AuthenticatorOptions } from 'pgbearer'

export function startServer(options: AuthenticatorOptions): Promise<{
  readonly server: Server
  readonly database: PGlite
  readonly authenticator: Authenticator
}>
