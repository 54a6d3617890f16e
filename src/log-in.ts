/**
 * From the startup packet to a session that is ready: who the client is, and the login to the server
 * behind as the role. What a login needs is gone when it is over: a session lasts for days.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import type { AuthorizedSession } from './authorized-session.ts'
import { type ClientConnection, SilentEnd, UnloggedEnd } from './client-connection.ts'
import { logAuthorized, logReady } from './connection-log.ts'
import type { ConversationLogin, Login, UpstreamLogin } from './login/login.ts'
import { authenticationOk } from './protocol/backend-messages.ts'
import { converse } from './sasl/converse.ts'
import type { ConnectionServices } from './services.ts'
import { type StartupMessage, upstreamParameters } from './startup/startup-message.ts'
import { clientCertificate } from './startup/tls.ts'
import { connectUpstream, type UpstreamConnection } from './upstream/connect-upstream.ts'
import { relayLogin } from './upstream/relay-login.ts'

/** Somebody who may be a role, and a session of that role. Nothing is relayed without both. */
interface Established {
  readonly session: AuthorizedSession
  readonly upstream: Pick<UpstreamConnection, 'socket' | 'source' | 'cancelKey'>
}

/** A session that is in. */
export interface Session extends Established {
  /** Call it when the session is over. */
  readonly close: () => Promise<void>
}

/**
 * Logs a client in; it then has what the server behind greeted with. Undefined where it may not be in:
 * then client and log have been told. Never rejects.
 */
export async function logIn(
  client: ClientConnection,
  startup: StartupMessage,
  services: ConnectionServices,
): Promise<Session | undefined> {
  let login: Login | undefined
  try {
    client.authenticationDeadline(services.snapshot.settings.authenticationTimeout)
    const leave = await client.during(() => services.logins.enter(client.signal))
    try {
      login = await beginLogin(client, startup, services)
      const established =
        login.kind === 'upstream'
          ? await passLoginOn(client, login, startup, services)
          : await logInUpstream(client, login, startup, services)
      client.endLogin()
      logReady(client, services)
      return { ...established, close: login.close }
    } finally {
      leave()
    }
  } catch (error) {
    // The client hears of it before the validator's shutdown, which may take its time.
    client.report(error)
    await login?.close()
    return undefined
  }
}

function beginLogin(
  client: ClientConnection,
  startup: StartupMessage,
  { snapshot }: ConnectionServices,
): Promise<Login> {
  return client.during(() =>
    snapshot.authenticator.begin(
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
    return establish(session, upstream)
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
  return establish(session, upstream)
}

/** Leaves the greeting behind. */
function establish(
  session: AuthorizedSession,
  { socket, source, cancelKey }: UpstreamConnection,
): Established {
  return { session, upstream: { socket, source, cancelKey } }
}
