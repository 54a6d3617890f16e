/** What a script is, and the messages of a login. */
import type { Buffer } from 'node:buffer'
import {
  kvsep,
  oauthBearer,
  saslInitialResponse,
  saslResponse,
  startupMessage,
} from '../../support/wire-bytes.ts'
import type { Step } from '../conversation.ts'

export interface Script {
  readonly name: string
  readonly steps: readonly Step[]
}

export const start = (
  user: string,
  database: string,
  more: Readonly<Record<string, string>> = {},
): Buffer => startupMessage({ user, database, ...more })

export const first = (data?: string | Uint8Array): Buffer =>
  saslInitialResponse('OAUTHBEARER', data)

export function login(database: string, token: string, user = 'alice'): readonly Step[] {
  return [start(user, database), first(oauthBearer(`Bearer ${token}`)), saslResponse(kvsep)]
}

export const script = (name: string, ...steps: readonly Step[]): Script => ({ name, steps })
