import { describe, expect, it } from 'vitest'
import { firstMessage, offeredClient, withOAuthProxy } from '../support/oauth-proxy.ts'
import {
  int32,
  kvsep,
  message,
  oauthBearer,
  saslInitialResponse,
  saslResponse,
} from '../support/wire-bytes.ts'

const proxy = withOAuthProxy()

const MALFORMED = { S: 'FATAL', V: 'FATAL', C: '08P01', M: 'malformed OAUTHBEARER message' }

/** auth-oauth.c: what is wrong, the first message, PostgreSQL's DETAIL. */
const FIRST_MESSAGES: readonly (readonly [string, string, string])[] = [
  ['nothing', '', 'The message is empty.'],
  [
    'a NUL inside',
    'n,,\u0001auth=Bearer x\0\u0001\u0001',
    'Message length does not match input length.',
  ],
  [
    'a NUL at the end',
    'n,,\u0001auth=Bearer x\u0001\u0001\0',
    'Message length does not match input length.',
  ],
  [
    'flag p',
    'p=tls-unique,,\u0001auth=Bearer x\u0001\u0001',
    'The server does not support channel binding for OAuth, but the client message includes channel binding data.',
  ],
  ['no comma behind n', 'nx,\u0001auth=\u0001\u0001', `Comma expected, but found character "'x'".`],
  ['no comma behind y', 'y', 'Comma expected, but found character "0x00".'],
  ['another flag', 'x,,\u0001auth=\u0001\u0001', `Unexpected channel-binding flag "'x'".`],
  ['a capital flag', 'N,,\u0001auth=\u0001\u0001', `Unexpected channel-binding flag "'N'".`],
  ['a lone kvsep', kvsep, 'Unexpected channel-binding flag "0x01".'],
  ['a blank as flag', ' ', 'Unexpected channel-binding flag "0x20".'],
  [
    'an unknown attribute',
    'n,b=x,\u0001auth=\u0001\u0001',
    `Unexpected attribute "'b'" in client-first-message.`,
  ],
  ['the end behind the first comma', 'n,', 'Unexpected attribute "0x00" in client-first-message.'],
  [
    'no separator behind the header',
    'n,,auth=\u0001\u0001',
    `Key-value separator expected, but found character "'a'".`,
  ],
  ['the end behind the header', 'n,,', 'Key-value separator expected, but found character "0x00".'],
  [
    'a pair without an end',
    'n,,\u0001auth=Bearer x',
    'Message contains an unterminated key/value pair.',
  ],
  ['a pair without =', 'n,,\u0001auth\u0001\u0001', 'Message contains a key without a value.'],
  [
    'an = in the next pair only',
    'n,,\u0001auth\u0001host=x\u0001\u0001',
    'Message contains a key without a value.',
  ],
  ['an empty key', 'n,,\u0001=Bearer x\u0001\u0001', 'Message contains an empty key name.'],
  [
    'a digit in a key',
    'n,,\u0001auth1=Bearer x\u0001\u0001',
    'Message contains an invalid key name.',
  ],
  [
    'a blank before a key',
    'n,,\u0001 auth=Bearer x\u0001\u0001',
    'Message contains an invalid key name.',
  ],
  [
    'a control character in a value',
    'n,,\u0001auth=Bearer \u0002x\u0001\u0001',
    'Message contains an invalid value.',
  ],
  ['DEL in a value', 'n,,\u0001host=\u007f\u0001\u0001', 'Message contains an invalid value.'],
  ['UTF-8 in a value', 'n,,\u0001host=é\u0001\u0001', 'Message contains an invalid value.'],
  [
    'auth twice',
    'n,,\u0001auth=Bearer x\u0001auth=Bearer x\u0001\u0001',
    'Message contains multiple auth values.',
  ],
  [
    'an empty auth twice',
    'n,,\u0001auth=\u0001auth=\u0001\u0001',
    'Message contains multiple auth values.',
  ],
  [
    'no last separator',
    'n,,\u0001auth=Bearer x\u0001',
    'Message did not contain a final terminator.',
  ],
  ['nothing behind the header', 'n,,\u0001', 'Message did not contain a final terminator.'],
  ['no auth', 'n,,\u0001\u0001', 'Message does not contain an auth value.'],
  [
    'Auth in capitals',
    'n,,\u0001AUTH=Bearer x\u0001\u0001',
    'Message does not contain an auth value.',
  ],
  [
    'something behind the end',
    'n,,\u0001auth=Bearer x\u0001\u0001x',
    'Message contains additional data after the final terminator.',
  ],
]

describe('a first OAUTHBEARER message', () => {
  it.each(FIRST_MESSAGES)('with %s is refused at once', async (_what, data, detail) => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(data))
    expect(await client.readError()).toEqual({ ...MALFORMED, D: detail })
    await client.expectClose()
  })

  it('with an authorization identity is refused', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage('n,a=alice,\u0001auth=Bearer x\u0001\u0001'))
    expect(await client.readError()).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '0A000',
      M: 'client uses authorization identity, but it is not supported',
    })
    await client.expectClose()
  })
})

const framing = (message: string) => ({ S: 'FATAL', V: 'FATAL', C: '08P01', M: message })

/** auth-sasl.c and pqcomm.c: the message around it. */
const FRAMES: readonly (readonly [string, Buffer, string])[] = [
  ['another type', message('Q', 'select 1\0'), 'expected SASL response, got message type 81'],
  ['Terminate', message('X'), 'expected SASL response, got message type 88'],
  ['no NUL behind the mechanism', message('p', 'OAUTHBEARER'), 'invalid string in message'],
  ['an empty body', message('p'), 'invalid string in message'],
  ['no length word', message('p', 'OAUTHBEARER\0'), 'insufficient data left in message'],
  [
    'half a length word',
    message('p', 'OAUTHBEARER\0', Buffer.alloc(2)),
    'insufficient data left in message',
  ],
  [
    'a length over the data',
    message('p', 'OAUTHBEARER\0', int32(9), 'n,,'),
    'insufficient data left in message',
  ],
  [
    'a length below -1',
    message('p', 'OAUTHBEARER\0', int32(-2)),
    'insufficient data left in message',
  ],
  [
    'data behind the length',
    message('p', 'OAUTHBEARER\0', int32(2), 'n,,'),
    'invalid message format',
  ],
  [
    'data although the length is -1',
    message('p', 'OAUTHBEARER\0', int32(-1), 'n'),
    'invalid message format',
  ],
  [
    'another mechanism',
    saslInitialResponse('SCRAM-SHA-256', 'n,,'),
    'client selected an invalid SASL authentication mechanism',
  ],
  [
    'a mechanism in lower case',
    saslInitialResponse('oauthbearer', oauthBearer('')),
    'client selected an invalid SASL authentication mechanism',
  ],
]

describe('a SASLInitialResponse', () => {
  it.each(FRAMES)('with %s is refused at once', async (_what, bytes, text) => {
    const client = await offeredClient(proxy())
    client.send(bytes)
    expect(await client.readError()).toEqual(framing(text))
    await client.expectClose()
  })

  it.each([
    ['3', 3],
    ['65536', 65_536],
    ['2147483647', 0x7fff_ffff],
    ['4294967295', -1],
  ])('with the length word %s fails the login before its body is read', async (_text, length) => {
    const client = await offeredClient(proxy())
    client.send('p', int32(length))
    expect(await client.readError()).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '28000',
      M: 'OAuth bearer authentication failed for user "alice"',
    })
    await client.expectClose()
    await proxy().logged(
      (line) => line.msg === 'invalid message length' && line.sqlState === '08P01',
    )
  })

  it('that ends in the middle fails the login', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('Bearer alice')).subarray(0, 20))
    client.end()
    expect((await client.readError()).C).toBe('28000')
    await client.expectClose()
    await proxy().logged((line) => line.msg === 'incomplete message from client')
  })

  it('that ends in its length word fails the login', async () => {
    const client = await offeredClient(proxy())
    client.send('p\0\0')
    client.end()
    expect((await client.readError()).C).toBe('28000')
    await proxy().logged((line) => line.msg === 'unexpected EOF within message length word')
  })
})

describe('the answer to an error', () => {
  it.each([
    ['two bytes', '\u0001\u0001'],
    ['another byte', 'x'],
    ['the first message again', oauthBearer('Bearer alice')],
  ])('that is %s is refused', async (_what, data) => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('')))
    expect((await client.readMessage()).type).toBe('R')
    client.send(saslResponse(data))
    expect(await client.readError()).toEqual({
      ...MALFORMED,
      D: 'Client did not send a kvsep response.',
    })
    await client.expectClose()
  })

  it('that is empty is refused', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('')))
    await client.readMessage()
    client.send(saslResponse(''))
    expect((await client.readError()).D).toBe('The message is empty.')
  })

  it('that is a NUL is refused', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer('')))
    await client.readMessage()
    client.send(saslResponse('\0'))
    expect((await client.readError()).D).toBe('Message length does not match input length.')
  })
})
