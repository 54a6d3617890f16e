/**
 * One connection, from accept to the last byte. Each step is a folder; this file hands what one makes to
 * the next.
 *
 * @module
 */
import type { AuthorizedSession } from './authorized-session.ts'
import { type ClientConnection, SilentEnd, UnloggedEnd } from './client-connection.ts'
import { logAuthorized, logReady, logReceived } from './connection-log.ts'
import { AdminShutdownError, ServerClosingError, TooManyConnectionsError } from './errors.ts'
import {
  authenticationOk,
  errorResponse,
  negotiateProtocolVersion,
} from './protocol/backend-messages.ts'
import type { CancelKey } from './protocol/frontend-messages.ts'
import type { ConversationLogin, Login, UpstreamLogin } from './login/login.ts'
import { relay } from './relay/relay.ts'
import { converse } from './sasl/converse.ts'
import type { ConnectionServices } from './services.ts'
import { negotiateStartup } from './startup/negotiate.ts'
import {
  negotiateProtocol,
  parseStartupMessage,
  type StartupMessage,
  upstreamParameters,
} from './startup/startup-message.ts'
import { clientCertificate } from './startup/tls.ts'
import { connectUpstream, type UpstreamConnection } from './upstream/connect-upstream.ts'
import { relayLogin } from './upstream/relay-login.ts'
import { sendCancelRequest } from './upstream/send-cancel-request.ts'

const GOODBYE = errorResponse(new AdminShutdownError())

/** Serves one client. Resolves when its socket is closed or about to be; never rejects. */
export async function serveConnection(
  client: ClientConnection,
  services: ConnectionServices,
): Promise<void> {
  try {
    client.startupDeadline(services.snapshot.settings.authenticationTimeout)
    logReceived(client, services)
    const startup = await receiveStartup(client, services)
    if (startup !== undefined) {
      await serveClient(client, startup, services)
    }
  } catch (error) {
    client.report(error)
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

/** Counts the client while it is here. */
async function serveClient(
  client: ClientConnection,
  startup: StartupMessage,
  services: ConnectionServices,
): Promise<void> {
  const { clients, closing, snapshot } = services
  if (closing.aborted) {
    throw new ServerClosingError()
  }
  if (clients.size >= snapshot.settings.maxConnections) {
    throw new TooManyConnectionsError({ reason: 'max_connections' })
  }
  clients.add(client)
  try {
    await runSession(client, startup, services)
  } finally {
    clients.delete(client)
  }
}

async function runSession(
  client: ClientConnection,
  startup: StartupMessage,
  services: ConnectionServices,
): Promise<void> {
  const { settings, authenticator } = services.snapshot
  client.authenticationDeadline(settings.authenticationTimeout)
  const leave = await client.during(() => services.logins.enter(client.signal))
  let login: Login | undefined
  try {
    login = await client.during(() =>
      authenticator.begin(
        {
          id: client.id,
          user: startup.user,
          database: startup.database,
          physicalReplication: startup.replication === 'physical',
          clientAddress: client.clientAddress,
          tls: client.stream.tls !== undefined,
          clientCertificate: clientCertificate(client.stream.tls),
        },
        { signal: client.signal, log: client.log },
      ),
    )
    const established =
      login.kind === 'upstream'
        ? await passLoginOn(client, login, startup, services)
        : await logInUpstream(client, login, startup, services)
    leave()
    client.endLogin()
    logReady(client, services)
    await relaySession(client, established, services)
  } catch (error) {
    // The client hears of it before the validator's shutdown, which may take its time.
    client.report(error)
  } finally {
    leave()
    await login?.close()
  }
}

/** Runs the login's conversation over the client's stream. */
async function authenticate(
  client: ClientConnection,
  login: ConversationLogin,
): Promise<AuthorizedSession> {
  const end = await converse(login.conversation, {
    read: async () => {
      const chunk = await client.stream.source.readSome()
      client.signal.throwIfAborted()
      return chunk
    },
    write: (bytes) => client.write(bytes),
    during: (work) => client.during(work),
  })
  client.signal.throwIfAborted()
  switch (end.kind) {
    case 'accepted':
      client.stream.source.unread(end.unread)
      return end.accepted
    case 'refused':
      throw end.error
    case 'abandoned':
      throw new UnloggedEnd(end.error)
    case 'gone':
      throw new SilentEnd('client gone')
  }
}

/** Somebody who may be a role, and a session of that role. Nothing is relayed without both. */
interface Established {
  readonly session: AuthorizedSession
  readonly upstream: UpstreamConnection
}

/**
 * Logs the client in, and then in to the server behind, as the role; the client then has what that server
 * greeted with.
 */
async function logInUpstream(
  client: ClientConnection,
  login: ConversationLogin,
  startup: StartupMessage,
  services: ConnectionServices,
): Promise<Established> {
  const session = await authenticate(client, login)
  const { snapshot } = services
  logAuthorized(client, startup, services)
  const lease = snapshot.upstreamTokens?.lease({
    role: session.role,
    clientToken: login.takeToken?.(),
  })
  try {
    const upstream = await client.during(() =>
      connectUpstream(
        snapshot.upstream,
        { version: startup.protocolVersion, parameters: upstreamParameters(startup, session) },
        {
          credential: snapshot.users.get(session.role),
          bearer: lease?.bearer,
          signal: client.signal,
          log: client.log,
        },
      ),
    )
    client.write(Buffer.concat([authenticationOk(), upstream.greeting]))
    return { session, upstream }
  } catch (error) {
    // As in PostgreSQL, which sends AuthenticationOk with what follows it: what fails now fails behind it.
    client.write(authenticationOk())
    throw error
  } finally {
    await lease?.end()
  }
}

/** Lets the server behind decide: what it asks goes to the client, and the answers to it. */
async function passLoginOn(
  client: ClientConnection,
  login: UpstreamLogin,
  startup: StartupMessage,
  services: ConnectionServices,
): Promise<Established> {
  const asked = { role: startup.user, database: startup.database }
  const upstream = await client.during(() =>
    relayLogin(
      services.snapshot.upstream,
      { version: startup.protocolVersion, parameters: upstreamParameters(startup, asked) },
      {
        client: {
          readExactly: (size) => client.stream.source.readExactly(size),
          write: (bytes) => client.write(bytes),
        },
        signal: client.signal,
      },
    ),
  )
  const session = login.acceptedByServer()
  logAuthorized(client, startup, services)
  client.write(upstream.greeting)
  return { session, upstream }
}

async function relaySession(
  client: ClientConnection,
  { upstream }: Established,
  { cancelKeys, snapshot, ending }: ConnectionServices,
): Promise<void> {
  const forget =
    upstream.cancelKey &&
    cancelKeys.register(upstream.cancelKey, {
      upstream: snapshot.upstream,
      cancelKey: upstream.cancelKey,
    })
  try {
    await relay(client.stream, upstream, { signal: ending, goodbye: GOODBYE })
  } finally {
    forget?.()
  }
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
