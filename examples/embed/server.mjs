// An in-process PostgreSQL (PGlite) that lets people in by OAuth bearer token: pgbearer decides, the
// sockets and what happens behind the login are this program's own.
import net from 'node:net'
import { PGlite } from '@electric-sql/pglite'
import {
  converse,
  createAuthenticator,
  errorResponse,
  negotiateStartup,
  parseStartupMessage,
} from 'pgbearer'

/** Starts the server; `options` are those of createAuthenticator(). */
export async function startServer(options) {
  const authenticator = await createAuthenticator(options)
  const database = await PGlite.create()
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {})
    serve(socket, authenticator, database).catch((error) => socket.end(errorResponse(error)))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, database, authenticator }
}

async function serve(socket, authenticator, database) {
  const startup = await negotiateStartup(socket, { acceptTls: undefined, onStream() {} })
  if (startup.kind !== 'startup') return socket.destroy()
  const { source } = startup.stream
  const gone = new AbortController()
  socket.on('close', () => gone.abort())
  const request = {
    ...parseStartupMessage(startup.payload),
    id: `${socket.remotePort}`,
    physicalReplication: false,
    clientAddress: socket.remoteAddress,
    tls: false,
  }
  const login = await authenticator.begin(request, { signal: gone.signal })
  socket.on('close', () => login.close())
  const read = () => source.readSome()
  const end = await converse(login.conversation, { read, write: (bytes) => socket.write(bytes) })
  if (end.kind !== 'accepted') throw end.error ?? new Error('the client left')
  await database.query(`set session authorization "${end.accepted.role.replaceAll('"', '""')}"`)
  // PGlite answers a startup packet as a server does behind the login: AuthenticationOk and the rest.
  let message = Buffer.concat([int32(4 + startup.payload.length), startup.payload])
  while (message !== undefined && message[0] !== 0x58) {
    socket.write(await database.execProtocolRaw(message))
    const header = await source.readExactly(5)
    const body = header && (await source.readExactly(header.readInt32BE(1) - 4))
    message = body && Buffer.concat([header, body])
  }
  socket.end()
}

const int32 = (value) => Buffer.from(Uint32Array.of(value).buffer).swap32()
