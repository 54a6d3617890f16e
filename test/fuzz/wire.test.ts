/**
 * Random and mutated byte streams at a listening proxy: it answers an error or closes, never crashes or
 * hangs, and keeps neither memory nor sockets. `npm run fuzz` sends more (`PGBEARER_FUZZ_STREAMS`).
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { withCertificates } from '../support/certificates.ts'
import { startCli } from '../support/child-process.ts'
import {
  DISCOVERY_JSON,
  firstMessage,
  fixtureValidator,
  OAUTH_RULE,
} from '../support/oauth-proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  bytes,
  cancelRequest,
  gssencRequest,
  int32,
  kvsep,
  message,
  oauthBearer,
  PROTOCOL_3_2,
  saslResponse,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'

const STREAMS = Number(process.env.PGBEARER_FUZZ_STREAMS ?? 1500)
const AT_A_TIME = 50
/** A stream that is neither answered nor closed for so long is a hang. */
const PATIENCE_MS = 20_000

const certificates = withCertificates()

const login = (first: Buffer): Buffer =>
  bytes(startupMessage({ user: 'alice', database: 'db' }), first, saslResponse(kvsep))

const SEEDS: readonly Buffer[] = [
  login(firstMessage(oauthBearer(''))),
  login(firstMessage(oauthBearer('Bearer bob'))),
  login(firstMessage()),
  bytes(sslRequest, startupMessage({ user: 'alice' })),
  bytes(gssencRequest, login(firstMessage('n,,\u0001auth=Bearer x\u0001host=h\u0001\u0001'))),
  bytes(startupMessage({ user: 'alice', replication: 'true', '_pq_.x': 'y' }, PROTOCOL_3_2)),
  cancelRequest(1, Buffer.alloc(32, 7)),
  // The beginning of a ClientHello.
  Buffer.from('16030100f8010000f40303' + '5a'.repeat(200), 'hex'),
]

/** Lengths that have been other people's undoing. */
const WORDS = [0, 1, 3, 4, 5, 7, 8, 0x7fff_ffff, -1, -2_147_483_648, 65_535, 65_536, 10_004, 10_005]

const mutation = fc.oneof(
  fc.record({
    kind: fc.constant('flip' as const),
    at: fc.nat(),
    by: fc.integer({ min: 1, max: 255 }),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('word' as const), at: fc.nat(), word: fc.constantFrom(...WORDS) }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: fc.nat(),
    data: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: fc.nat(),
    length: fc.integer({ min: 1, max: 60 }),
  }),
)

const mutated = fc
  .tuple(fc.constantFrom(...SEEDS), fc.array(mutation, { minLength: 1, maxLength: 6 }))
  .map(([seed, mutations]) => mutations.reduce(mutate, seed))

function mutate(data: Buffer, change: Mutation): Buffer {
  const at = data.length === 0 ? 0 : change.at % data.length
  switch (change.kind) {
    case 'flip': {
      const copy = Buffer.from(data)
      if (copy.length > 0) {
        copy[at] = (copy[at] ?? 0) ^ change.by
      }
      return copy
    }
    case 'cut':
      return data.subarray(0, at)
    case 'word':
      return bytes(data.subarray(0, at), int32(change.word), data.subarray(at + 4))
    case 'insert':
      return bytes(data.subarray(0, at), change.data, data.subarray(at))
    case 'repeat':
      return bytes(data.subarray(0, at + change.length), data.subarray(at))
  }
}

type Mutation = typeof mutation extends fc.Arbitrary<infer Value> ? Value : never

const stream = fc.record({
  data: fc.oneof(
    { weight: 4, arbitrary: mutated },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  ),
  chunk: fc.constantFrom(1, 3, 17, 4096),
  leave: fc.constantFrom('end' as const, 'destroy' as const, 'reset' as const),
})

type Stream = typeof stream extends fc.Arbitrary<infer Value> ? Value : never

/** Sends one stream, takes what comes, and leaves. Rejects where the server neither ends nor is ended. */
function sendStream(port: number, { data, chunk, leave }: Stream): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    const hang = setTimeout(
      () =>
        reject(
          new Error(`the server hangs on ${leave} after ${Buffer.from(data).toString('hex')}`),
        ),
      PATIENCE_MS,
    )
    socket.on('error', () => {})
    socket.on('data', () => {})
    socket.on('close', () => {
      clearTimeout(hang)
      resolve()
    })
    socket.on('connect', () => {
      for (let at = 0; at < data.length; at += chunk) {
        socket.write(data.subarray(at, at + chunk))
      }
      setImmediate(() => {
        if (leave === 'reset') {
          socket.resetAndDestroy()
        } else {
          socket[leave]()
        }
      })
    })
  })
}

async function sendAll(port: number, streams: readonly Stream[]): Promise<void> {
  const waiting = [...streams]
  const worker = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      await sendStream(port, next)
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, worker))
}

async function isServing(port: number): Promise<void> {
  const client = await rawClient({ port })
  client.send(startupMessage({ user: 'alice' }))
  expect((await client.readMessage()).type).toBe('R')
  client.send(firstMessage(oauthBearer('')))
  expect((await client.readMessage()).raw).toEqual(message('R', int32(11), DISCOVERY_JSON))
  client.destroy()
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

const residentMegabytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

describe('the listening proxy', () => {
  it(`outlives ${STREAMS} broken streams, and holds nothing of them`, async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'pgbearer-fuzz-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    writeFileSync(path.join(directory, 'pg_hba.conf'), OAUTH_RULE)
    writeFileSync(
      path.join(directory, 'pgbearer.toml'),
      `listen_addresses = ["127.0.0.1"]
port = 0
shutdown_timeout = "1s"
ssl = true
ssl_cert_file = "${certificates().files.cert}"
ssl_key_file = "${certificates().files.key}"
oauth_validator_libraries = ["${fixtureValidator('accepts-anything')}"]
[upstream]
host = "127.0.0.1"
port = 1
`,
    )
    const program = startCli(['serve', '-c', path.join(directory, 'pgbearer.toml')])
    const [, text] = await program.waitFor(/port (\d+)"/)
    const port = Number(text)
    const seed = Number(process.env.PGBEARER_FUZZ_SEED ?? 20261121)
    const streams = fc.sample(stream, { seed, numRuns: STREAMS })
    const warmUp = streams.slice(0, STREAMS / 3)
    await sendAll(port, warmUp)
    await isServing(port)
    const linux = existsSync(`/proc/${program.pid}/fd`)
    const before = linux
      ? { files: openFiles(program.pid), memory: residentMegabytes(program.pid) }
      : undefined

    await sendAll(port, streams)

    await isServing(port)
    expect(program.child.exitCode).toBeNull()
    expect(program.stderr()).not.toContain('ERR_INTERNAL')
    if (before !== undefined) {
      // The sockets of isServing() itself may still be open on either side of the comparison.
      expect(openFiles(program.pid)).toBeLessThanOrEqual(before.files + 2)
      expect(residentMegabytes(program.pid)).toBeLessThan(before.memory + 40)
    }
    program.kill('SIGTERM')
    expect((await program.ended).status).toBe(0)
  }, 600_000)
})
