/** When it asks, and that it stops. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { MembershipsUnknownError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { CatalogMemberships } from '../../src/memberships/catalog-memberships.ts'
import {
  AUTHENTICATION_OK,
  message,
  READY,
  scriptedServer,
  upstreamSettings,
} from '../upstream/support.ts'

const ANN = fromText('ann')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function memberships(port: number, user = 'reader'): CatalogMemberships {
  return new CatalogMemberships({
    target: {
      upstream: upstreamSettings({ port }),
      user: fromText(user),
      database: fromText('postgres'),
      credential: undefined,
    },
    refreshMs: 60_000,
    log: silentLog,
  })
}

/** One role, `ann`; each odd connection is answered, or none is. */
const catalogServer = (answers: (connection: number) => boolean) =>
  scriptedServer(async (peer, connection) => {
    await peer.readStartup()
    peer.write(AUTHENTICATION_OK, message('S', 'client_encoding\0SQL_ASCII\0'), READY)
    await peer.readMessage()
    if (answers(connection)) {
      peer.write(message('D', '\0\x02', 3, 'ann', -1), READY)
    }
  })

const never = new AbortController().signal

test('asks once at the start, and again after the interval', async () => {
  await using server = await catalogServer(() => true)
  const asked = memberships(server.port)
  await asked.start(never)
  expect(asked.isMember(ANN, ANN)).toBe(true)
  await vi.advanceTimersByTimeAsync(59_999)
  expect(server.accepted()).toBe(1)
  await vi.advanceTimersByTimeAsync(1)
  await vi.waitFor(() => expect(server.accepted()).toBe(2))
  asked.stop()
})

test('asks again sooner after a failure', async () => {
  await using server = await catalogServer((connection) => connection > 1)
  const asked = memberships(server.port)
  await asked.start(never)
  expect(() => asked.isMember(ANN, ANN)).toThrow(MembershipsUnknownError)
  await vi.advanceTimersByTimeAsync(5000)
  await vi.waitFor(() => expect(asked.isMember(ANN, ANN)).toBe(true))
  asked.stop()
})

test('has no timer left when it is stopped, and still knows', async () => {
  await using server = await catalogServer(() => true)
  const asked = memberships(server.port)
  await asked.start(never)
  expect(vi.getTimerCount()).toBe(1)
  asked.stop()
  expect(vi.getTimerCount()).toBe(0)
  expect(asked.isMember(ANN, ANN)).toBe(true)
})

test('stopped while it asks, it never asks again', async () => {
  await using server = await catalogServer(() => false)
  const asked = memberships(server.port)
  const started = asked.start(never)
  asked.stop()
  await started
  expect(vi.getTimerCount()).toBe(0)
  expect(() => asked.isMember(ANN, ANN)).toThrow(MembershipsUnknownError)
})

test('a signal that came before the start stops it', async () => {
  await using server = await catalogServer(() => true)
  const asked = memberships(server.port)
  await asked.start(AbortSignal.abort())
  expect(server.accepted()).toBe(0)
  expect(vi.getTimerCount()).toBe(0)
})

test('a signal after the start has no say', async () => {
  await using server = await catalogServer(() => true)
  const controller = new AbortController()
  const asked = memberships(server.port)
  await asked.start(controller.signal)
  controller.abort()
  expect(vi.getTimerCount()).toBe(1)
  asked.stop()
})

test('takes over what another knows of the same catalog, and of no other', async () => {
  await using server = await catalogServer(() => true)
  const first = memberships(server.port)
  await first.start(never)
  first.stop()
  const same = memberships(server.port)
  same.inherit(first)
  expect(same.isMember(ANN, ANN)).toBe(true)
  for (const other of [memberships(server.port, 'another'), memberships(server.port + 1)]) {
    other.inherit(first)
    expect(() => other.isMember(ANN, ANN)).toThrow(MembershipsUnknownError)
  }
})
