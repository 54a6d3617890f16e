/** Asks the server behind to cancel what a session is doing. @module */
import { type CancelKey, cancelRequest } from '../protocol/frontend-messages.ts'
import { checkSettings } from './connect-upstream.ts'
import { withDeadline } from './deadline.ts'
import { connectError } from './errors.ts'
import { isUnixSocket, type UpstreamSettings } from './settings.ts'
import { openPlain, openTls, TlsUnavailableError, type Transport } from './transport.ts'

/** A server answers nothing; more than this is not a server. */
const MAX_ANSWER_LENGTH = 30_000

/**
 * Sends a CancelRequest and waits until the server closes, which is when it has signalled the backend.
 *
 * TLS as for the session, except that `allow` begins with TLS: the key may have been given inside it.
 *
 * @throws {UpstreamError} where the server cannot be reached, or `connectTimeoutMs` is over.
 * @throws the reason of `signal` when that aborts.
 */
export async function sendCancelRequest(
  settings: UpstreamSettings,
  cancelKey: CancelKey,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  checkSettings(settings)
  await withDeadline(options.signal, settings.connectTimeoutMs, async (signal) => {
    const { socket, source } = await open(settings, signal)
    try {
      socket.write(cancelRequest(cancelKey))
      let received = 0
      for (let chunk = await source.readSome(); chunk; chunk = await source.readSome()) {
        received += chunk.length
        if (received > MAX_ANSWER_LENGTH) {
          throw connectError('protocol_violation', 'the server answered a cancel request')
        }
      }
      signal.throwIfAborted()
    } finally {
      socket.destroy()
    }
  })
}

async function open(settings: UpstreamSettings, signal: AbortSignal): Promise<Transport> {
  if (isUnixSocket(settings) || settings.sslmode === 'disable') {
    return openPlain(settings, signal)
  }
  const mayBePlain = settings.sslmode === 'allow' || settings.sslmode === 'prefer'
  try {
    return await openTls(settings, signal, mayBePlain)
  } catch (error) {
    if (!(error instanceof TlsUnavailableError)) {
      throw error
    }
    if (!mayBePlain) {
      throw connectError('tls_failed', error.message, error)
    }
    return openPlain(settings, signal)
  }
}
