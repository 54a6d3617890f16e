/**
 * A module that counts its own life, in a running proxy whose connections end in every way: by the client at any
 * byte, by the deadline, by a refusal, by a reload under way, by a drain, and by the end of the worker.
 *
 * `PGBEARER_LIFE_CONNECTIONS=100000` runs as many.
 */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { firstMessage, fixtureValidator, OAUTH_RULE } from '../support/oauth-proxy.ts'
import { withPostgres } from '../support/postgres.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import {
  bytes,
  kvsep,
  oauthBearer,
  saslResponse,
  startupMessage,
  terminate,
} from '../support/wire-bytes.ts'

const CONNECTIONS = Number(process.env['PGBEARER_LIFE_CONNECTIONS'] ?? 600)
const AT_ONCE = 50

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })

function start(isolation: 'worker' | 'none'): Promise<TestProxy> {
  return startProxy({
    hba: OAUTH_RULE,
    files: { 'life.js': readFileSync(fixtureValidator('counts-its-life'), 'utf8') },
    oauth_validator_libraries: ['./life.js'],
    validator_hosts: { life: { isolation, max_concurrent_validations: 10_000 } },
    authentication_timeout: '1s',
    max_logins_in_progress: 1000,
    max_connections: 1000,
    log_connections: [],
    log_min_messages: 'warning',
    upstream: { host: postgres().host, port: postgres().port, sslmode: 'disable' },
  })
}

const hello = (role: string): Buffer => startupMessage({ user: role, database: 'postgres' })
const token = (text: string): Buffer => firstMessage(oauthBearer(`Bearer ${text}`))
const script = bytes(hello('nobody'), token('bad'), saslResponse(kvsep))

type Leave = 'end' | 'destroy' | 'resetAndDestroy'
const LEAVES: readonly Leave[] = ['end', 'destroy', 'resetAndDestroy']

/** Says something, waits for so many bytes or the end, and leaves. */
function client(port: number, say: Buffer, wanted: number, leave: Leave): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    let received = 0
    const go = (): void => {
      socket[leave]()
    }
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.on('end', () => socket.destroy())
    socket.on('data', (chunk) => {
      received += chunk.length
      if (received >= wanted) {
        go()
      }
    })
    socket.write(say, () => {
      if (wanted === 0) {
        go()
      }
    })
  })
}

const NEVER = Number.MAX_SAFE_INTEGER

/** How connection number `n` goes; the same in every run. */
function connect(port: number, n: number): Promise<void> {
  const leave = LEAVES[n % LEAVES.length] ?? 'end'
  switch (n % 8) {
    case 0:
      return client(port, script.subarray(0, (n / 8) % (script.length + 1)), 0, leave)
    case 1:
      return client(
        port,
        bytes(hello('ali'), firstMessage(oauthBearer('')), saslResponse(kvsep)),
        NEVER,
        leave,
      )
    case 2:
      return client(port, script, NEVER, leave)
    case 3:
      return client(port, bytes(hello('throws'), token('good')), 100, leave)
    case 4:
      return client(port, bytes(hello('slow'), token('good')), 24, leave)
    case 5:
      return client(port, bytes(hello('nobody'), token('good')), NEVER, leave)
    case 6:
      return client(
        port,
        bytes(hello(postgres().superuser), token('good'), terminate),
        NEVER,
        leave,
      )
    default:
      // Few, as each waits for a whole deadline.
      return n % 400 === 7
        ? client(port, bytes(hello('hangs'), token('good')), NEVER, leave)
        : client(port, bytes(hello('ali'), firstMessage('n,,\u0001auth=?\u0001\u0001')), 24, leave)
  }
}

interface Counts {
  started: number
  validated: number
  ended: number
  twice: number
  open: number
}

const livesOf = ({ lines }: TestProxy): Counts[] =>
  lines.filter(({ msg }) => msg === 'life').map(({ fields }) => fields as Counts)

describe.each(['none', 'worker'] as const)('a module with isolation = "%s"', (isolation) => {
  it(`has one shutdown for every startup over ${CONNECTIONS} connections that end in every way`, async () => {
    const proxy = await start(isolation)
    try {
      let next = 0
      const some = async (): Promise<void> => {
        while (next < CONNECTIONS) {
          next += 1
          await connect(proxy.port, next)
        }
      }
      const all = Promise.all(Array.from({ length: AT_ONCE }, some))
      for (let reload = 1; reload <= 3; reload += 1) {
        await vi.waitFor(() => expect(next).toBeGreaterThan((CONNECTIONS * reload) / 4), {
          timeout: 600_000,
        })
        await proxy.server.reload()
      }
      await all
      await vi.waitFor(() => expect(proxy.server.clientCount).toBe(0), 10_000)
      // The last ones are there when the server is told to stop.
      const drained = Array.from({ length: 20 }, () =>
        client(proxy.port, bytes(hello('hangs'), token('good')), NEVER, 'end'),
      )
      await vi.waitFor(() => expect(proxy.server.clientCount).toBe(20), 10_000)
      await proxy.server.close({ timeout: 0 })
      await Promise.all(drained)

      const lives = livesOf(proxy)
      expect(lives).toHaveLength(4)
      expect(lives.map(({ ended, open, twice }) => ({ ended, open, twice }))).toEqual(
        lives.map(({ started }) => ({ ended: started, open: 0, twice: 0 })),
      )
      const sum = (name: keyof Counts): number =>
        lives.reduce((total, counts) => total + counts[name], 0)
      expect(sum('started')).toBeGreaterThan(CONNECTIONS / 2)
      expect(sum('validated')).toBeGreaterThan(CONNECTIONS / 4)
      expect(sum('started')).toBeGreaterThan(sum('validated'))
    } finally {
      await proxy[Symbol.asyncDispose]()
    }
  }, 900_000)
})

describe('the end of a worker', () => {
  it('ends the logins that live in it, and nothing of them is left', async () => {
    const proxy = await start('worker')
    try {
      const waiting = Array.from({ length: 20 }, () =>
        client(proxy.port, bytes(hello('hangs'), token('good'), saslResponse(kvsep)), NEVER, 'end'),
      )
      await vi.waitFor(() => expect(proxy.server.clientCount).toBe(20), 10_000)
      await client(
        proxy.port,
        bytes(hello('exits'), token('good'), saslResponse(kvsep)),
        NEVER,
        'end',
      )
      await Promise.all(waiting)
      await vi.waitFor(() => expect(proxy.server.clientCount).toBe(0), 10_000)
      const refusals = proxy.lines.filter(({ reason }) => reason === 'validator_crashed')
      expect(refusals).toHaveLength(21)

      await client(proxy.port, bytes(hello('nobody'), token('good')), NEVER, 'end')
      await proxy.server.close({ timeout: 0 })
      expect(livesOf(proxy)).toMatchObject([{ started: 1, validated: 1, ended: 1, open: 0 }])
    } finally {
      await proxy[Symbol.asyncDispose]()
    }
  }, 60_000)
})
