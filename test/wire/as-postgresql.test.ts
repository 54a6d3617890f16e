/** What a real PostgreSQL 18.6 with a validator in C answered and logged to the same bytes. */
import { describe, expect, it } from 'vitest'
import {
  DISCOVERY_JSON,
  firstMessage,
  OAUTH_RULE,
  offeredClient,
  withOAuthProxy,
} from '../support/oauth-proxy.ts'
import { type RawClient, rawClient } from '../support/raw-client.ts'
import {
  bytes,
  cancelRequest,
  int32,
  kvsep,
  message,
  oauthBearer,
  packet,
  PROTOCOL_3_0,
  saslResponse,
  startupMessage,
} from '../support/wire-bytes.ts'

const proxy = withOAuthProxy({ authentication_timeout: '2s' })

const OFFER = message('R', int32(10), 'OAUTHBEARER\0\0')
const CHALLENGE = message('R', int32(11), DISCOVERY_JSON)

describe('a frame that holds no message', () => {
  it.each<[string, Uint8Array, string]>([
    ['that is too short', bytes('p', int32(3)), 'invalid message length'],
    ['that is too long', bytes('p', int32(65_536)), 'invalid message length'],
    [
      'that ends early',
      bytes('p', int32(65_535), 'OAUTHBEARER\0'),
      'incomplete message from client',
    ],
    ['that ends in its length', bytes('p\0\0'), 'unexpected EOF within message length word'],
  ])('%s is logged with the rule that was matched', async (_what, frame, reason) => {
    const user = `frame${reason.length}${frame.length}`
    const client = await offeredClient(proxy(), user)
    client.send(frame)
    client.end()
    await client.readToEnd()
    const line = await proxy().logged(({ msg }) => msg.endsWith(`failed for user "${user}"`))
    expect(line).toMatchObject({ level: 'fatal', reason: 'malformed_message', hba: { line: 1 } })
    expect(line.detail).toBe(
      `${reason}\nConnection matched file "${proxy().directory}/pg_hba.conf" line 1: "${OAUTH_RULE}"`,
    )
  })
})

describe('a client that is refused and does not hear it to the end', () => {
  it.each<[string, (client: RawClient) => void]>([
    ['ends its side', (client) => client.end()],
    ['closes', (client) => client.destroy()],
    ['resets', (client) => client.reset()],
    ['says something else', (client) => client.send(saslResponse('x'))],
    ['sends another type', (client) => client.send(message('Q', 'select 1\0'))],
    ['sends a broken frame', (client) => client.send('p', int32(2))],
    ['waits for the timeout', () => {}],
  ])('and %s has its refusal in the log', async (how, leave) => {
    const user = how.replaceAll(' ', '-')
    const client = await offeredClient(proxy(), user)
    client.send(firstMessage(oauthBearer('Bearer not-theirs')))
    expect((await client.readMessage()).raw).toEqual(CHALLENGE)
    leave(client)
    const line = await proxy().logged(
      ({ msg, reason }) => msg.endsWith(`failed for user "${user}"`) && reason === 'token_refused',
    )
    expect(line).toMatchObject({ level: 'log', code: 'ERR_OAUTH_AUTHENTICATION', authnId: user })
    expect(line.detail).toMatch(/^Validator failed to authorize the provided token\.\nConnection/)
    expect(proxy().logText()).not.toContain('not-theirs')
  })

  it('is in the log once where it hears all of it', async () => {
    const client = await offeredClient(proxy(), 'heard')
    client.send(firstMessage(oauthBearer('Bearer not-theirs')))
    await client.readMessage()
    client.send(saslResponse(kvsep))
    await client.readToEnd()
    const next = await offeredClient(proxy(), 'next')
    next.send('X')
    const about = proxy().lines.filter(({ msg }) => msg.endsWith('failed for user "heard"'))
    expect(about.map(({ level }) => level)).toEqual(['fatal'])
  })

  it('is not in the log where it only asked for the discovery document', async () => {
    const client = await offeredClient(proxy(), 'asks')
    client.send(firstMessage(oauthBearer('')))
    await client.readMessage()
    client.destroy()
    const other = await offeredClient(proxy(), 'other')
    other.send(firstMessage(oauthBearer('Bearer not-theirs')))
    await other.readMessage()
    other.destroy()
    await proxy().logged(({ msg }) => msg.endsWith('failed for user "other"'))
    expect(proxy().lines.filter(({ msg }) => msg.endsWith('failed for user "asks"'))).toEqual([])
  })
})

describe('a startup packet', () => {
  it('may have any one byte where its terminator belongs', async () => {
    const client = await rawClient({ port: proxy().port })
    client.send(packet(int32(PROTOCOL_3_0), 'user\0alice\0x'))
    expect((await client.readMessage()).raw).toEqual(OFFER)
  })

  it.each([
    ['two bytes', 'user\0alice\0xy'],
    ['a name', 'user\0alice\0x\0'],
    ['a name and a value without an end', 'user\0alice\0x\0y'],
    ['nothing', 'user\0alice\0'],
    ['a value without an end', 'user\0alice'],
  ])('with %s there is refused', async (_what, pairs) => {
    const client = await rawClient({ port: proxy().port })
    client.send(packet(int32(PROTOCOL_3_0), pairs))
    expect(await client.readError()).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '08P01',
      M: 'invalid startup packet layout: expected terminator as last byte',
    })
  })

  it('of version 0.0 is refused in the shape of version 3', async () => {
    const client = await rawClient({ port: proxy().port })
    client.send(startupMessage({ user: 'alice' }, 0))
    expect(await client.readToEnd()).toEqual(
      message(
        'E',
        'SFATAL\0VFATAL\0C0A000\0',
        'Munsupported frontend protocol 0.0: server supports 3.0 to 3.2\0\0',
      ),
    )
  })
})

describe('the log', () => {
  it('has a cancel request for nobody with its connection', async () => {
    const client = await rawClient({ port: proxy().port })
    const port = String(client.socket.localPort)
    client.send(cancelRequest(4711, new Uint8Array(4)))
    await client.expectClose()
    const line = await proxy().logged(
      ({ msg }) => msg === 'PID 4711 in cancel request did not match any process',
    )
    const received = proxy().lines.find(({ msg }) => msg.endsWith(` port=${port}`))
    expect(received).toBeDefined()
    expect(line['connection']).toBe(received?.['connection'])
  })

  it('has an application name in ASCII', async () => {
    const client = await rawClient({ port: proxy().port })
    client.send(
      startupMessage({ user: 'alice', application_name: 'näme\tof\u0001' }),
      firstMessage(oauthBearer('Bearer alice')),
    )
    await proxy().logged(
      ({ msg }) =>
        msg ===
        'connection authorized: user=alice database=alice application_name=n\\xc3\\xa4me\\x09of\\x01',
    )
  })
})
