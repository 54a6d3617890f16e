/**
 * The process that libpq lives in; started by `libpq.ts`, spoken to over Node's IPC channel.
 *
 * Its only argument is the path of libpq. Tokens and connection strings come over the channel: what
 * is on a command line or in an environment can be read by others.
 *
 * @module
 */
import { loadLibpq } from './libpq-binding.ts'
import { Connection } from './libpq-connection.ts'

/** What the parent asks for; every request gets one {@link ChildReply} with its `id`. */
export type ChildRequest = { readonly id: number; readonly connection: number } & (
  | {
      readonly do: 'login'
      readonly conninfo: string
      /** Null: the application's own way to get a token fails. Undefined: libpq's builtin flow. */
      readonly token: string | null | undefined
    }
  | {
      readonly do: 'execute'
      readonly sql: string
      readonly parameters: readonly (string | null)[] | undefined
      readonly copyIn: readonly Uint8Array[]
    }
  | { readonly do: 'notifications' | 'cancel' | 'close' }
)

export interface ChildReply {
  readonly id: number
  readonly value?: unknown
  /** Set where the request failed. */
  readonly error?: string
}

const pq = await loadLibpq(process.argv[2] ?? '')
const connections = new Map<number, Connection>()
const tokens = new Map<bigint, { connection: Connection; token: string | null | undefined }>()

pq.setTokenHook((conn, request) => {
  const entry = tokens.get(conn)
  entry?.connection.addTokenRequest(request)
  return entry?.token
})

const noticeProcessor = pq.noticeProcessor((number, message) => {
  connections.get(Number(number))?.addNotice(message)
})

async function handle(request: ChildRequest): Promise<unknown> {
  if (request.do === 'login') {
    return await login(request.connection, request.conninfo, request.token)
  }
  const connection = connections.get(request.connection)
  if (connection === undefined) {
    throw new Error('the connection is closed')
  }
  switch (request.do) {
    case 'execute': {
      const results = await connection.execute(request.sql, request.parameters, request.copyIn)
      return { results, notices: connection.takeNotices() }
    }
    case 'notifications':
      return await connection.notifications()
    case 'cancel':
      return await connection.cancel()
    case 'close':
      connections.delete(request.connection)
      return connection.close()
  }
}

async function login(
  number: number,
  conninfo: string,
  token: string | null | undefined,
): Promise<unknown> {
  const connection = new Connection(pq, conninfo)
  connections.set(number, connection)
  tokens.set(connection.address, { connection, token })
  pq.PQsetNoticeProcessor(connection.address, noticeProcessor, BigInt(number))
  try {
    const report = await connection.login()
    if (!report.ok) {
      connections.delete(number)
    }
    return report
  } finally {
    tokens.delete(connection.address)
  }
}

process.on('message', (request: ChildRequest) => {
  handle(request).then(
    (value) => reply({ id: request.id, value }),
    (error: unknown) =>
      reply({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  )
})

function reply(message: ChildReply): void {
  process.send?.(message)
}

// Threads that wait for sockets would hold up an orderly exit, and there is nothing to save.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))

reply({ id: 0 })
