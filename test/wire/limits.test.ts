/** Deadlines, and how many may come: short times and small numbers, and what is said to whom. */
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { withCertificates } from '../support/certificates.ts'
import {
  firstMessage,
  fixtureValidator,
  OAUTH_RULE,
  offeredClient,
} from '../support/oauth-proxy.ts'
import { startProxy, type TestProxyOptions } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  kvsep,
  oauthBearer,
  saslResponse,
  sslRequest,
  startupMessage,
} from '../support/wire-bytes.ts'

const certificates = withCertificates()

async function limited(options: Partial<TestProxyOptions>) {
  const proxy = await startProxy({
    hba: OAUTH_RULE,
    oauth_validator_libraries: [fixtureValidator('accepts-anything')],
    ...options,
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return proxy
}

describe('authentication_timeout', () => {
  it('closes on a client that sends no startup packet, and says and logs nothing', async () => {
    const proxy = await limited({ authentication_timeout: '1s' })
    const client = await rawClient({ port: proxy.port })
    client.send('\0\0')
    await client.expectClose()
    expect(proxy.lines.filter(({ msg }) => !/^(connection received|listening)/.test(msg))).toEqual(
      [],
    )
  })

  it('closes on a client that does not begin its TLS handshake', async () => {
    const proxy = await limited({
      hba: OAUTH_RULE,
      authentication_timeout: '1s',
      ssl: true,
      ssl_cert_file: certificates().files.cert,
      ssl_key_file: certificates().files.key,
    })
    const client = await rawClient({ port: proxy.port })
    client.send(sslRequest)
    expect((await client.read(1)).toString()).toBe('S')
    await client.expectClose()
  })

  it('closes on a client that does not answer, and tells only the log', async () => {
    const proxy = await limited({ authentication_timeout: '1s' })
    const client = await offeredClient(proxy)
    await client.expectClose()
    const line = await proxy.logged(({ code }) => code === 'ERR_AUTHENTICATION_TIMEOUT')
    expect(line).toMatchObject({
      level: 'fatal',
      sqlState: '57014',
      msg: 'canceling authentication due to timeout',
    })
  })

  it('ends a validator that never answers', async () => {
    const proxy = await limited({
      authentication_timeout: '1s',
      oauth_validator_libraries: [fixtureValidator('never-settles')],
    })
    const client = await offeredClient(proxy)
    client.send(firstMessage(oauthBearer('Bearer alice')))
    await client.expectClose()
    await proxy.logged(({ msg }) => msg === 'canceling authentication due to timeout')
    expect(proxy.logText()).not.toContain('Bearer alice')
  })
})

describe('max_connections', () => {
  it('refuses one more in PostgreSQL’s words, and lets the next in when one has left', async () => {
    const proxy = await limited({ max_connections: 2 })
    const first = await offeredClient(proxy)
    await offeredClient(proxy)
    const third = await rawClient({ port: proxy.port })
    third.send(startupMessage({ user: 'alice' }))
    expect(await third.readError()).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '53300',
      M: 'sorry, too many clients already',
    })
    first.destroy()
    await vi.waitFor(() => expect(proxy.server.clientCount).toBe(1))
    await offeredClient(proxy)
  })

  it('bounds those who have not said who they are, too', async () => {
    const proxy = await limited({ max_connections: 1 })
    const silent = [await rawClient({ port: proxy.port }), await rawClient({ port: proxy.port })]
    const third = await rawClient({ port: proxy.port })
    await third.expectClose()
    silent[0]?.destroy()
    await vi.waitFor(async () => {
      const next = await rawClient({ port: proxy.port })
      next.send(startupMessage({ user: 'alice' }))
      expect((await next.readMessage()).type).toBe('R')
    })
  })
})

describe('logins in progress', () => {
  it('wait for their turn, and are refused where too many wait', async () => {
    const proxy = await limited({ max_logins_in_progress: 1, login_queue_size: 1 })
    const first = await offeredClient(proxy)
    const second = await rawClient({ port: proxy.port })
    second.send(startupMessage({ user: 'alice' }))
    expect(await second.isSilent(50)).toBe(true)
    const third = await rawClient({ port: proxy.port })
    third.send(startupMessage({ user: 'alice' }))
    expect((await third.readError()).C).toBe('53300')
    first.send(firstMessage(oauthBearer('')))
    await first.readMessage()
    first.send(saslResponse(kvsep))
    expect((await second.readMessage()).type).toBe('R')
  })

  it('that leave the queue do not hold a place', async () => {
    const proxy = await limited({ max_logins_in_progress: 1, login_queue_size: 1 })
    const first = await offeredClient(proxy)
    const second = await rawClient({ port: proxy.port })
    second.send(startupMessage({ user: 'alice' }))
    expect(await second.isSilent(50)).toBe(true)
    second.destroy()
    await vi.waitFor(() => expect(proxy.server.clientCount).toBe(1))
    const third = await rawClient({ port: proxy.port })
    third.send(startupMessage({ user: 'alice' }))
    first.destroy()
    expect((await third.readMessage()).type).toBe('R')
  })
})
