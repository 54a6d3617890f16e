import { describe, expect, it } from 'vitest'
import {
  DISCOVERY_JSON,
  firstMessage,
  fixtureValidator,
  OAUTH_RULE,
  offeredClient,
  withOAuthProxy,
} from '../support/oauth-proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  bytes,
  int32,
  kvsep,
  message,
  oauthBearer,
  saslResponse,
  startupMessage,
} from '../support/wire-bytes.ts'

const proxy = withOAuthProxy()

const SASL_OFFER = message('R', int32(10), 'OAUTHBEARER\0\0')
const ERROR_CHALLENGE = message('R', int32(11), DISCOVERY_JSON)
const REFUSAL = message(
  'E',
  'SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user "alice"\0\0',
)

describe('OAUTHBEARER', () => {
  it('is the only mechanism offered', async () => {
    const client = await rawClient({ port: proxy().port })
    client.send(startupMessage({ user: 'alice' }))
    expect((await client.readMessage()).raw).toEqual(SASL_OFFER)
  })

  it('answers an empty auth value with the discovery document, and logs no failure', async () => {
    const client = await offeredClient(proxy())
    const before = proxy().lines.length
    client.send(firstMessage(oauthBearer('')))
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    client.send(saslResponse(kvsep))
    expect(await client.readToEnd()).toEqual(REFUSAL)
    await proxy().logged((line) => line.msg === 'OAuth issuer discovery requested')
    expect(
      proxy()
        .lines.slice(before)
        .filter((line) => line.level !== 'debug'),
    ).toEqual([])
  })

  it('gives a client without an initial response an empty challenge first', async () => {
    const client = await offeredClient(proxy())
    client.send(firstMessage())
    expect((await client.readMessage()).raw).toEqual(message('R', int32(11)))
    client.send(saslResponse(oauthBearer('')))
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    client.send(saslResponse(kvsep))
    expect(await client.readToEnd()).toEqual(REFUSAL)
  })

  it.each([
    ['no scheme', 'alice'],
    ['another scheme', 'Basic alice'],
    ['a tab behind the scheme', 'Bearer\talice'],
    ['a blank before the scheme', ' Bearer alice'],
    ['an empty token', 'Bearer '],
    ['a blank inside the token', 'Bearer ali ce'],
    ['a blank behind the token', 'Bearer alice '],
    ['padding inside the token', 'Bearer ali=ce'],
    ['a character outside the alphabet', 'Bearer ali,ce'],
    ['a token for another role', 'Bearer bob'],
    ['a token of nothing but padding', 'Bearer ==='],
  ])('refuses %s like any other token', async (_what, auth) => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer(auth)))
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    client.send(saslResponse(kvsep))
    expect(await client.readToEnd()).toEqual(REFUSAL)
  })

  it.each([
    ['the scheme in any case', 'bEARER alice'],
    ['several blanks behind the scheme', 'Bearer    alice'],
  ])('takes %s', async (_what, auth) => {
    const client = await offeredClient(proxy())
    client.send(firstMessage(oauthBearer(auth)))
    expect((await client.readMessage()).raw).toEqual(message('R', int32(0)))
  })

  it('ignores other keys, also repeated ones', async () => {
    const client = await offeredClient(proxy())
    client.send(
      firstMessage(
        'y,,\u0001host=a\u0001host=b\u0001port=\u0001auth=Bearer alice\u0001x=a=b\u0001\u0001',
      ),
    )
    expect((await client.readMessage()).raw).toEqual(message('R', int32(0)))
  })

  it('takes the largest token that fits, and no larger one', async () => {
    const largest = 'a'.repeat(65_497)
    const client = await offeredClient(proxy())
    const fits = firstMessage(oauthBearer(`Bearer ${largest}`))
    expect(fits.readUInt32BE(1)).toBe(65_535)
    client.send(fits)
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    const other = await offeredClient(proxy())
    other.send(firstMessage(oauthBearer(`Bearer ${largest}a`)))
    expect((await other.readError()).M).toContain('OAuth bearer authentication failed')
  })

  it('refuses in the same words whatever the reason is', async () => {
    const reasons = new Map<string, string>([
      ['returns-false', 'alice'],
      ['throws-in-validate', 'alice'],
      ['throws-in-startup', 'alice'],
      ['returns-true', 'alice'],
      ['throws-the-token', 'alice'],
      ['lone-surrogate', 'alice'],
      ['huge-authn-id', 'alice'],
    ])
    for (const [validator, token] of reasons) {
      const refusing = await startProxy({
        hba: OAUTH_RULE,
        oauth_validator_libraries: [fixtureValidator(validator)],
      })
      const client = await offeredClient(refusing)
      client.send(firstMessage(oauthBearer(`Bearer ${token}`)))
      expect((await client.readMessage()).raw, validator).toEqual(ERROR_CHALLENGE)
      client.send(saslResponse(kvsep))
      expect(await client.readToEnd(), validator).toEqual(REFUSAL)
      await refusing[Symbol.asyncDispose]()
    }
  })

  it('answers discovery also where the validator cannot start', async () => {
    const broken = await startProxy({
      hba: OAUTH_RULE,
      oauth_validator_libraries: [fixtureValidator('throws-in-startup')],
    })
    const client = await offeredClient(broken)
    client.send(firstMessage(oauthBearer('')))
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    await broken[Symbol.asyncDispose]()
  })

  it('gives the same answers however the bytes are cut', async () => {
    const refused = bytes(
      startupMessage({ user: 'alice', database: 'db' }),
      firstMessage(oauthBearer('Bearer bob')),
      saslResponse(kvsep),
    )
    const expected = bytes(SASL_OFFER, ERROR_CHALLENGE, REFUSAL)
    for (const size of [1, 2, 3, 5, 7, 11, 64, refused.length]) {
      const client = await rawClient({ port: proxy().port })
      await client.sendSplit(refused, size)
      expect(await client.readToEnd(), `chunks of ${size}`).toEqual(expected)
    }
  })

  it('gives the same answers at every single cut', async () => {
    const refused = bytes(
      startupMessage({ user: 'alice', database: 'db' }),
      firstMessage(oauthBearer('Bearer bob')),
      saslResponse(kvsep),
    )
    const expected = bytes(SASL_OFFER, ERROR_CHALLENGE, REFUSAL)
    const cuts = Array.from({ length: refused.length - 1 }, (_, index) => index + 1)
    await Promise.all(
      cuts.map(async (cut) => {
        const client = await rawClient({ port: proxy().port })
        client.send(refused.subarray(0, cut))
        await new Promise((resolve) => setTimeout(resolve, 5))
        client.send(refused.subarray(cut))
        expect(await client.readToEnd(), `cut at ${cut}`).toEqual(expected)
      }),
    )
  })
})

describe('the log of a refusal', () => {
  it('has the reason, the rule and the identity, and no token', async () => {
    const client = await offeredClient(proxy(), 'carol')
    client.send(firstMessage(oauthBearer('Bearer not-carols-token')))
    await client.readMessage()
    client.send(saslResponse(kvsep))
    await client.readToEnd()
    const line = await proxy().logged(({ msg }) => msg.endsWith('failed for user "carol"'))
    expect(line).toMatchObject({
      level: 'fatal',
      code: 'ERR_OAUTH_AUTHENTICATION',
      sqlState: '28000',
      reason: 'token_refused',
      hba: { file: expect.stringMatching(/pg_hba\.conf$/), line: 1 },
      authnId: 'carol',
    })
    expect(line.detail).toContain('Validator failed to authorize the provided token.')
    expect(line.detail).toContain(`line 1: "${OAUTH_RULE}"`)
    expect(proxy().logText()).not.toContain('not-carols-token')
  })

  it('names a malformed token’s fault without its characters', async () => {
    const client = await offeredClient(proxy(), 'dave')
    client.send(firstMessage(oauthBearer('Bearer secret,token')))
    await client.readMessage()
    client.send(saslResponse(kvsep))
    await client.readToEnd()
    const line = await proxy().logged(({ msg }) => msg.endsWith('failed for user "dave"'))
    expect(line).toMatchObject({ reason: 'token_malformed' })
    expect(line.detail).toContain('Bearer token is not in the correct format.')
    expect(proxy().logText()).not.toContain('secret,token')
  })

  it.each([
    ['token', 'provider_unavailable'],
    ['token-plain', 'validator_threw'],
  ])('has the word of a validator that cannot answer, if it is one: %s', async (token, reason) => {
    const away = await startProxy({
      hba: OAUTH_RULE,
      oauth_validator_libraries: [fixtureValidator('throws-with-code')],
    })
    const client = await offeredClient(away)
    client.send(firstMessage(oauthBearer(`Bearer ${token}`)))
    expect((await client.readMessage()).raw).toEqual(ERROR_CHALLENGE)
    client.send(saslResponse(kvsep))
    expect(await client.readToEnd()).toEqual(REFUSAL)
    const line = await away.logged(({ code }) => code === 'ERR_OAUTH_AUTHENTICATION')
    expect(line.reason).toBe(reason)
    await away[Symbol.asyncDispose]()
  })
})
