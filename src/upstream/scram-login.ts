/** SCRAM-SHA-256 and SCRAM-SHA-256-PLUS with a server that asks for SASL. @module */
import { serialize } from 'pg-protocol'
import {
  AUTH,
  checkMethod,
  credentialFor,
  expectOk,
  type LoginAttempt,
  parseAuthentication,
  role,
} from './login-attempt.ts'
import { tlsServerEndPoint } from './certificate-hash.ts'
import { abortable } from './deadline.ts'
import { loginError } from './errors.ts'
import { type ChannelBinding, MIN_ITERATIONS, ScramClient } from './scram-client.ts'
import { scramKeys } from './scram-keys.ts'

const SCRAM = 'SCRAM-SHA-256'
const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'

export const SCRAM_MECHANISMS: readonly string[] = [SCRAM, SCRAM_PLUS]

/** @param offered - the mechanisms. */
export async function authenticateScram(
  attempt: LoginAttempt,
  offered: readonly string[],
): Promise<void> {
  const { transport, signal } = attempt
  const { mechanism, binding } = chooseMechanism(attempt, offered)
  checkMethod(attempt, 'scram-sha-256')
  const credential = credentialFor(attempt, mechanism)

  const scram = new ScramClient(binding)
  transport.socket.write(serialize.sendSASLInitialResponseMessage(mechanism, scram.clientFirst()))
  // Keys make the same proof whatever the server says of iterations; only a password can be tried out.
  const canBeTried = 'password' in credential && !transport.isPrivate
  const serverFirst = scram.readServerFirst(
    await readSasl(attempt, AUTH.saslContinue),
    canBeTried ? MIN_ITERATIONS : 1,
  )
  const deriving = scramKeys(credential, serverFirst.salt, serverFirst.iterations)
  const keys = await abortable(deriving, signal)
  transport.socket.write(
    serialize.sendSCRAMClientFinalMessage(scram.clientFinal(serverFirst, keys)),
  )
  scram.readServerFinal(await readSasl(attempt, AUTH.saslFinal))
  await expectOk(attempt)
}

/** PLUS wherever both sides can; never without saying so (RFC 5802 §6, `pg_SASL_init`). */
function chooseMechanism(
  attempt: LoginAttempt,
  offered: readonly string[],
): { readonly mechanism: string; readonly binding: ChannelBinding } {
  const { certificate, encrypted } = attempt.transport
  const wanted = attempt.settings.channelBinding
  const offersPlus = offered.includes(SCRAM_PLUS)
  if (offersPlus && !encrypted) {
    throw loginError('channel_binding', `server offered ${SCRAM_PLUS} without TLS`)
  }
  const endPoint =
    wanted === 'disable' || certificate === undefined ? undefined : tlsServerEndPoint(certificate)
  if (offersPlus && endPoint !== undefined) {
    return { mechanism: SCRAM_PLUS, binding: { flag: 'p', endPoint } }
  }
  if (wanted === 'require') {
    throw loginError(
      'channel_binding',
      'channel binding is required, but the server or TLS has none',
    )
  }
  if (!offered.includes(SCRAM)) {
    throw loginError(
      'method_not_supported',
      `the server asks ${role(attempt)} for SASL with none of the mechanisms that are supported: ${offered.join(' ')}`,
    )
  }
  return { mechanism: SCRAM, binding: { flag: endPoint === undefined ? 'n' : 'y' } }
}

async function readSasl(
  attempt: LoginAttempt,
  expected: typeof AUTH.saslContinue | typeof AUTH.saslFinal,
): Promise<string> {
  const { code, data } = parseAuthentication(await attempt.reader.next())
  if (code === AUTH.ok) {
    throw loginError(
      'server_not_authenticated',
      'the server ended the SCRAM exchange without having proved that it knows the role',
    )
  }
  if (code !== expected) {
    throw loginError('protocol_violation', 'the SCRAM exchange is out of order')
  }
  return data.toString('latin1')
}
