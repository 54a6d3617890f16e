/** Whom a validator talks to: nobody inside, unless the settings say so; checked when it connects. */
import type { LookupAddress, lookup } from 'node:dns'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import jwt from '../../validators/jwt.ts'
import {
  guardedLookup,
  isAllowedAddress,
  isLoopbackHost,
} from '../../validators/lib/http/egress.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { SETTINGS } from './support/jwt-fixture.ts'
import { startValidator } from './support/run-validator.ts'

const LOCAL = ['127.0.0.1', '127.255.0.9', '::1', '0.0.0.0', '::', '::ffff:127.0.0.1']
const LINK_LOCAL = [
  '169.254.169.254',
  '169.254.0.1',
  'fe80::1',
  'fd00:ec2::254',
  '::ffff:169.254.169.254',
]
const PRIVATE = [
  '10.0.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  'fd12::1',
  '::ffff:10.0.0.1',
]
const SPECIAL = [
  '224.0.0.1',
  '255.255.255.255',
  '240.0.0.1',
  '192.0.2.1',
  '198.18.0.1',
  'ff02::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '64:ff9b::7f00:1',
]
const PUBLIC = ['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8']

describe('egress', () => {
  it.each([...LOCAL, ...LINK_LOCAL, ...SPECIAL])('%s is neither public nor private', (address) => {
    expect(isAllowedAddress(address, 'public')).toBe(false)
    expect(isAllowedAddress(address, 'private')).toBe(false)
  })
  it.each(PRIVATE)('%s is private only', (address) => {
    expect(isAllowedAddress(address, 'public')).toBe(false)
    expect(isAllowedAddress(address, 'private')).toBe(true)
  })
  it.each(PUBLIC)('%s is public', (address) => {
    expect(isAllowedAddress(address, 'public')).toBe(true)
  })
  it.each(['localhost', '127.0.0.1', '127.9.9.9', '[::1]'])('%s is this machine', (host) => {
    expect(isLoopbackHost(host)).toBe(true)
  })
  it.each(['localhost.example.com', '10.0.0.1', 'example.com', '0.0.0.0'])('%s is not', (host) => {
    expect(isLoopbackHost(host)).toBe(false)
  })
})

/** Answers with the next list each time. */
function resolver(...answers: string[][]): typeof lookup {
  const resolve = (
    _hostname: string,
    _options: unknown,
    callback: (error: null, addresses: LookupAddress[]) => void,
  ): void => {
    const addresses = answers.shift() ?? []
    callback(
      null,
      addresses.map((address) => ({ address, family: isIP(address) })),
    )
  }
  return resolve as unknown as typeof lookup
}

function connect(look: ReturnType<typeof guardedLookup>): Promise<unknown> {
  return new Promise((resolve) => {
    look('login.example.com', { all: true }, (error, addresses) => {
      resolve(error instanceof Error ? error.message : addresses)
    })
  })
}

describe('DNS rebinding', () => {
  it('is noticed at the connection that it is for', async () => {
    const look = guardedLookup('public', false, resolver(['8.8.8.8'], ['127.0.0.1'], ['8.8.8.8']))
    expect(await connect(look)).toEqual([{ address: '8.8.8.8', family: 4 }])
    expect(await connect(look)).toContain('not allowed by http.egress = "public"')
    expect(await connect(look)).toEqual([{ address: '8.8.8.8', family: 4 }])
  })
  it('is noticed behind an address that would be allowed', async () => {
    const look = guardedLookup('public', false, resolver(['8.8.8.8', '169.254.169.254']))
    expect(await connect(look)).toContain('not allowed')
  })
  it('cannot take plain http off this machine', async () => {
    const look = guardedLookup('any', true, resolver(['127.0.0.1'], ['8.8.8.8']))
    expect(await connect(look)).toEqual([{ address: '127.0.0.1', family: 4 }])
    expect(await connect(look)).toContain('not allowed')
  })
  it('of a name without addresses is refused', async () => {
    expect(await connect(guardedLookup('any', false, resolver([])))).toContain('not allowed')
  })
})

describe('a provider inside', () => {
  for (const host of ['127.0.0.1', 'localhost']) {
    it(`at ${host} is not even connected to by default`, async () => {
      await using server = await AuthorizationServer.start()
      const issuer = server.issuer.replace('127.0.0.1', host)
      for (const egress of ['public', 'private']) {
        await using runner = await startValidator({
          init: jwt,
          settings: { ...SETTINGS, http: { ca: 'ca.pem', egress } },
          issuers: [issuer],
        })
        await expect(runner.run(server.token({ iss: issuer }))).rejects.toMatchObject({
          code: 'provider_unavailable',
          message: expect.stringContaining('http.egress') as string,
        })
      }
      expect(server.connections).toBe(0)
    })
  }

  it('is asked over plain http only where that is allowed', async () => {
    await using server = await AuthorizationServer.start({ plainHttp: true })
    const http = { egress: 'any', dangerously_allow_http: true }
    await using runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, http },
      issuers: [server.issuer],
    })
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(runner.lines.join('\n')).toContain('http.dangerously_allow_http = true')
  })

  it('with a certificate of somebody else is not believed', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, http: { egress: 'any' } },
      issuers: [server.issuer],
    })
    await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(server.total).toBe(0)
  })

  it('is not reached through a proxy of the environment', async () => {
    await using server = await AuthorizationServer.start()
    const before = { ...process.env }
    Object.assign(process.env, {
      HTTPS_PROXY: 'http://127.0.0.1:1',
      https_proxy: 'http://127.0.0.1:1',
    })
    try {
      await using runner = await startValidator({
        init: jwt,
        settings: SETTINGS,
        issuers: [server.issuer],
      })
      expect((await runner.run(server.token())).authorized).toBe(true)
    } finally {
      process.env = before
    }
  })
})
