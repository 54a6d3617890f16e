/**
 * One connection, from accept to the last byte. Each step is a folder; this file hands what one makes to
 * the next.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import { type ClientConnection, SilentEnd } from './client-connection.ts'
import { logReceived } from './connection-log.ts'
import { AdminShutdownError, ServerClosingError, TooManyConnectionsError } from './errors.ts'
import { logIn, type Session } from './log-in.ts'
import { errorResponse, negotiateProtocolVersion } from './protocol/backend-messages.ts'
import type { CancelKey } from './protocol/frontend-messages.ts'
import { relay } from './relay/relay.ts'
import type { ConnectionServices } from './services.ts'
import { negotiateStartup } from './startup/negotiate.ts'
import {
  negotiateProtocol,
  parseStartupMessage,
  type StartupMessage,
} from './startup/startup-message.ts'
import { sendCancelRequest } from './upstream/send-cancel-request.ts'

const GOODBYE = errorResponse(new AdminShutdownError())

/** Serves one client. Resolves when its socket is closed or about to be; never rejects. */
export async function serveConnection(
  client: ClientConnection,
  services: ConnectionServices,
): Promise<void> {
  const session = await welcome(client, services)
  if (session !== undefined) {
    await relaySession(client, session, services)
  }
  services.clients.delete(client)
}

/** Everything before the session; undefined where there will be none, and who has to know does. */
async function welcome(
  client: ClientConnection,
  services: ConnectionServices,
): Promise<Session | undefined> {
  try {
    client.startupDeadline(services.snapshot.settings.authenticationTimeout)
    logReceived(client, services)
    const startup = await receiveStartup(client, services)
    if (startup === undefined) {
      return undefined
    }
    count(client, services)
    return await logIn(client, startup, services)
  } catch (error) {
    client.report(error)
    return undefined
  } finally {
    client.endLogin()
  }
}

/** The startup packet; undefined where there was none, or a cancel request instead. */
async function receiveStartup(
  client: ClientConnection,
  services: ConnectionServices,
): Promise<StartupMessage | undefined> {
  const { tls } = services.snapshot
  const received = await negotiateStartup(client.raw, {
    acceptTls:
      tls === undefined || client.peer.kind === 'local'
        ? undefined
        : async (raw) => {
            const leave = await services.handshakes.enter(client.signal)
            return tls.accept(raw).finally(leave)
          },
    onStream: (stream) => {
      client.stream = stream
    },
  })
  switch (received.kind) {
    case 'gone':
      throw new SilentEnd('client gone')
    case 'cancel':
      await forwardCancel(client, received.cancelKey, services)
      return undefined
    case 'startup':
      return readStartup(client, received.payload)
  }
}

function readStartup(client: ClientConnection, payload: Buffer): StartupMessage {
  const negotiation = negotiateProtocol(payload)
  if (negotiation !== undefined) {
    client.write(negotiateProtocolVersion(negotiation.version, negotiation.unsupportedOptions))
  }
  return parseStartupMessage(payload)
}

/** From here on the client is one of `max_connections`. */
function count(client: ClientConnection, { clients, closing, snapshot }: ConnectionServices): void {
  if (closing.aborted) {
    throw new ServerClosingError()
  }
  if (clients.size >= snapshot.settings.maxConnections) {
    throw new TooManyConnectionsError({ reason: 'max_connections' })
  }
  clients.add(client)
}

async function relaySession(
  client: ClientConnection,
  { upstream, close }: Session,
  { cancelKeys, snapshot, ending }: ConnectionServices,
): Promise<void> {
  const { cancelKey } = upstream
  const forget =
    cancelKey && cancelKeys.register(cancelKey, { upstream: snapshot.upstream, cancelKey })
  await relay(client.stream, upstream, { signal: ending, goodbye: GOODBYE })
  forget?.()
  await close()
}

/** Never answers; the connection closes when the server behind has done its part. */
async function forwardCancel(
  client: ClientConnection,
  cancelKey: CancelKey,
  { cancelKeys }: ConnectionServices,
): Promise<void> {
  const found = cancelKeys.find(cancelKey)
  if (found.kind === 'found') {
    const { upstream, cancelKey: behind } = found.target
    await sendCancelRequest(upstream, behind, { signal: client.signal })
  } else {
    client.log.log(
      found.kind === 'no_process'
        ? `PID ${cancelKey.processId} in cancel request did not match any process`
        : `wrong key in cancel request for process ${cancelKey.processId}`,
    )
  }
  client.raw.destroy()
}
