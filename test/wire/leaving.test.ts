/**
 * Every way to end a connection before the login is over: nothing is left behind, and the validator's
 * shutdown runs exactly once for every startup.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest'
import {
  firstMessage,
  fixtureValidator,
  OAUTH_RULE,
  offeredClient,
} from '../support/oauth-proxy.ts'
import { perFile } from '../support/per-file.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { bytes, kvsep, oauthBearer, saslResponse, startupMessage } from '../support/wire-bytes.ts'

interface Recorder {
  pgbearerLife: (readonly [string, object, string?])[]
  pgbearerGates?: { startup?: Promise<void>; validate?: Promise<void>; shutdown?: Promise<void> }
}
const recorder = globalThis as typeof globalThis & Recorder
const life = () => recorder.pgbearerLife.map(([event]) => event)

const proxy = perFile(() =>
  startProxy({
    hba: OAUTH_RULE,
    oauth_validator_libraries: [fixtureValidator('records-its-life')],
    authentication_timeout: '5s',
  }),
)

beforeEach(() => {
  recorder.pgbearerLife = []
  delete recorder.pgbearerGates
})

const nobodyLeft = () => vi.waitFor(() => expect(proxy().server.clientCount).toBe(0), 10_000)

describe('a client that leaves', () => {
  const script = bytes(
    startupMessage({ user: 'alice', database: 'db' }),
    firstMessage(oauthBearer('Bearer x,y')),
    saslResponse(kvsep),
  )

  it.each([
    ['ends its side', 'end'],
    ['closes', 'destroy'],
    ['resets', 'reset'],
  ] as const)('and %s after any byte leaves nothing behind', async (_how, leave) => {
    for (let at = 0; at <= script.length; at += 1) {
      const client = await rawClient({ port: proxy().port })
      client.send(script.subarray(0, at))
      client[leave]()
    }
    await nobodyLeft()
    await vi.waitFor(() => {
      const events = life()
      expect(events.filter((event) => event === 'shutdown').length).toBe(
        events.filter((event) => event === 'startup').length,
      )
    }, 10_000)
    expect(life()).not.toContain('validate')
  })

  it('while its token is looked at ends the validation, and shutdown still runs once', async () => {
    let open = (): void => {}
    recorder.pgbearerGates = {
      validate: new Promise<void>((resolve) => {
        open = resolve
      }),
    }
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('Bearer alice')))
    await vi.waitFor(() => expect(life()).toContain('validate'))
    client.destroy()
    await nobodyLeft()
    open()
    await vi.waitFor(() => expect(life()).toEqual(['startup', 'validate', 'shutdown']))
  })

  it('while the module starts is shut down after it has started', async () => {
    let open = (): void => {}
    recorder.pgbearerGates = {
      startup: new Promise<void>((resolve) => {
        open = resolve
      }),
    }
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('Bearer alice')))
    await vi.waitFor(() => expect(life()).toContain('startup'))
    client.destroy()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(life()).toEqual(['startup'])
    open()
    await vi.waitFor(() => expect(life()).toEqual(['startup', 'shutdown']))
    await nobodyLeft()
  })
})

describe('the validator', () => {
  it('starts at the first message of a discovery request, and never validates', async () => {
    const client = await offeredClient(proxy())
    expect(life()).toEqual([])
    client.send(firstMessage(oauthBearer('')))
    await client.readMessage()
    expect(life()).toEqual(['startup'])
    client.send(saslResponse(kvsep))
    await client.readToEnd()
    await vi.waitFor(() => expect(life()).toEqual(['startup', 'shutdown']))
  })

  it('is not started for a mechanism that is not ours', async () => {
    const client = await offeredClient(proxy())
    client.send(bytes('p', Buffer.from([0, 0, 0, 10]), 'PLAIN\0'))
    await client.readError()
    await nobodyLeft()
    expect(life()).toEqual([])
  })

  it('is started, and shut down, though the payload is malformed', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage('nonsense'))
    await client.readError()
    await vi.waitFor(() => expect(life()).toEqual(['startup', 'shutdown']))
  })

  it('is shut down once where there is no server behind', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('Bearer alice')))
    expect((await client.readMessage()).type).toBe('R')
    const error = await client.readError()
    expect(error).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '08006',
      M: 'could not connect to the database server',
    })
    await vi.waitFor(() => expect(life()).toEqual(['startup', 'validate', 'shutdown']))
  })
})
