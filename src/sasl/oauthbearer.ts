/**
 * The server's side of OAUTHBEARER (RFC 7628), a state machine like `oauth_exchange()` in
 * `auth-oauth.c`.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { InternalError } from '../errors.ts'
import { parseAuthValue } from './bearer-token.ts'
import { malformed, parseClientInitialResponse } from './client-initial-response.ts'
import type { Decider, SaslMechanism, SaslStep } from './mechanism.ts'

export const OAUTHBEARER = 'OAUTHBEARER'

const KVSEP = 0x01

type State<Refused> =
  | { readonly kind: 'init' }
  | { readonly kind: 'finished' }
  | { readonly kind: 'error'; readonly refused: Refused }
  | { readonly kind: 'error_discovery' }

/**
 * Makes the exchange of one connection.
 *
 * @param discovery - the JSON of a refusal, also sent for an empty `auth` value (RFC 7628 §3.2.2).
 */
export function oauthbearer<Accepted, Refused>(
  discovery: Buffer,
  decider: Pick<Decider<Accepted, Refused>, 'decide' | 'malformed'>,
): SaslMechanism<Accepted, Refused> {
  type Step = SaslStep<Accepted, Refused>
  let state: State<Refused> = { kind: 'init' }

  const refuse = (next: State<Refused>): Step => {
    state = next
    return { kind: 'continue', challenge: discovery }
  }

  const decideFirstMessage = async (data: Buffer): Promise<Step> => {
    const auth = parseClientInitialResponse(data)
    if (auth === '') {
      return refuse({ kind: 'error_discovery' })
    }
    const bearer = parseAuthValue(auth)
    if (bearer.kind === 'malformed') {
      return refuse({ kind: 'error', refused: decider.malformed(bearer.detail) })
    }
    // Nothing but this answer leads to success; a second message meanwhile would find `finished`.
    state = { kind: 'finished' }
    const decision = await decider.decide(bearer.token)
    return decision.authorized === true
      ? { kind: 'success', accepted: decision.accepted }
      : refuse({ kind: 'error', refused: decision.refused })
  }

  return {
    name: OAUTHBEARER,
    async exchange(data) {
      if (data === undefined && state.kind === 'init') {
        return { kind: 'continue', challenge: Buffer.alloc(0) }
      }
      if (data === undefined || data.length === 0) {
        throw malformed('The message is empty.')
      }
      if (data.includes(0)) {
        throw malformed('Message length does not match input length.')
      }
      switch (state.kind) {
        case 'init':
          return decideFirstMessage(data)
        case 'error':
          checkKvsep(data)
          return { kind: 'failure', refused: state.refused }
        case 'error_discovery':
          checkKvsep(data)
          return { kind: 'abandoned' }
        case 'finished':
          throw new InternalError('invalid OAUTHBEARER exchange state')
      }
    },
  }
}

// RFC 7628 §3.2.3: the client answers an error with a lone kvsep, and nothing else.
function checkKvsep(data: Buffer): void {
  if (data.length !== 1 || data[0] !== KVSEP) {
    throw malformed('Client did not send a kvsep response.')
  }
}
