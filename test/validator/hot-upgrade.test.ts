/** A reload loads a changed module beside the old one, which ends with its last connection. */
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { firstMessage, ISSUER } from '../support/oauth-proxy.ts'
import { withPostgres } from '../support/postgres.ts'
import { startProxy, type TestProxy } from '../support/proxy.ts'
import { type RawClient, rawClient } from '../support/raw-client.ts'
import {
  kvsep,
  oauthBearer,
  saslResponse,
  startupMessage,
  terminate,
} from '../support/wire-bytes.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })
beforeAll(() => postgres().query('create role ali login'))

/** One version: it says its name in its answer and in its log. */
const moduleText = (version: string): string => `
export default (_settings, context) => ({
  apiVersion: 1,
  startup() {},
  validate(_state, request) {
    if (request.token === 'exit') process.exit(1)
    return { authorized: request.token === 'ali', authnId: 'ali', errorDetail: '${version}', code: '${version}' }
  },
  shutdown(state) {
    state.log.log('${version} shut down')
  },
  async [Symbol.asyncDispose]() {
    context.log.log('${version} disposed')
  },
})
`

async function start(
  isolation: 'worker' | 'none',
  files: Readonly<Record<string, string>>,
  library: string,
): Promise<TestProxy> {
  const proxy = await startProxy({
    hba: `host all all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db`,
    files,
    oauth_validator_libraries: [library],
    validator_hosts: { acme: { isolation } },
    upstream: { host: postgres().host, port: postgres().port, sslmode: 'disable' },
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return proxy
}

/** A client with a session. */
async function session(proxy: TestProxy): Promise<RawClient> {
  const client = await rawClient({ port: proxy.port })
  client.send(startupMessage({ user: 'ali', database: 'postgres' }))
  await client.readMessage()
  client.send(firstMessage(oauthBearer('Bearer ali')))
  await client.readUntil('Z')
  return client
}

function leave(client: RawClient): void {
  client.send(terminate)
  client.end()
}

/** Which version refuses: its code is the reason in the log. */
async function refusal(proxy: TestProxy, token = 'bad'): Promise<Record<string, unknown>> {
  const before = proxy.lines.length
  const client = await rawClient({ port: proxy.port })
  client.send(startupMessage({ user: 'ali', database: 'postgres' }))
  await client.readMessage()
  client.send(firstMessage(oauthBearer(`Bearer ${token}`)), saslResponse(kvsep))
  await client.readToEnd()
  return await vi.waitFor(() => {
    const line = proxy.lines
      .slice(before)
      .find(({ reason, code }) => reason !== undefined && code !== undefined)
    expect(line).toBeDefined()
    return line!
  })
}

const says = (proxy: TestProxy, text: string): boolean =>
  proxy.lines.some(({ msg }) => msg === text)

describe.each(['worker', 'none'] as const)('with isolation = "%s"', (isolation) => {
  it.each([
    ['an ECMAScript module', 'acme.js', (text: string) => text],
    ['CommonJS', 'acme.cjs', (text: string) => text.replace('export default', 'module.exports =')],
  ])(
    'a reload loads %s anew, and the old one serves its connections to their end',
    async (_what, file, written) => {
      const proxy = await start(isolation, { [file]: written(moduleText('v1')) }, `./${file}`)
      const old = await session(proxy)
      proxy.writeFile(file, written(moduleText('v2')))
      expect(await refusal(proxy)).toMatchObject({ reason: 'v1' })

      await proxy.server.reload()
      expect(await refusal(proxy)).toMatchObject({ reason: 'v2' })
      const young = await session(proxy)
      const shutdowns = () => proxy.lines.filter(({ msg }) => msg === 'v1 shut down').length
      expect([shutdowns(), says(proxy, 'v1 disposed')]).toEqual([1, false])

      leave(old)
      await proxy.logged(({ msg }) => msg === 'v1 disposed')
      expect([shutdowns(), says(proxy, 'v2 disposed')]).toEqual([2, false])

      proxy.writeFile(file, written(moduleText('v3')))
      await proxy.server.reload()
      expect(await refusal(proxy)).toMatchObject({ reason: 'v3' })
      leave(young)
      await proxy.logged(({ msg }) => msg === 'v2 disposed')
    },
  )

  it.each([
    ['does not parse', 'export default (', /could not load OAuth validator module/],
    ['throws in its init function', 'export default () => { throw new Error("no key") }', /no key/],
    ['has another version of the contract', 'export const apiVersion = 2', /apiVersion mismatch/],
    ['has no validate', 'export const apiVersion = 1', /must provide a "validate" callback/],
  ])('a module that %s changes nothing, and can be mended', async (_what, text, message) => {
    const proxy = await start(isolation, { 'acme.js': moduleText('v1') }, './acme.js')
    const old = await session(proxy)
    proxy.writeFile('acme.js', text)
    await expect(proxy.server.reload()).rejects.toThrow(message)
    expect(await refusal(proxy)).toMatchObject({ reason: 'v1' })
    proxy.writeFile('acme.js', moduleText('v2'))
    await proxy.server.reload()
    expect(await refusal(proxy)).toMatchObject({ reason: 'v2' })
    expect(says(proxy, 'v1 disposed')).toBe(false)
    leave(old)
    await proxy.logged(({ msg }) => msg === 'v1 disposed')
  })
})

describe('a file behind the module', () => {
  const files = {
    'package.json': '{ "type": "module" }',
    'acme.js': `import { version } from './version.js'\nexport const apiVersion = 1\nexport const validate = () => ({ authorized: false, code: version })\n`,
  }
  const library = (version: string) => `export const version = '${version}'\n`
  const nested = async (isolation: 'worker' | 'none'): Promise<TestProxy> => {
    const proxy = await start(isolation, { ...files, 'version.js': library('v1') }, './acme.js')
    expect(await refusal(proxy)).toMatchObject({ reason: 'v1' })
    proxy.writeFile('version.js', library('v2'))
    return proxy
  }

  it('is loaded anew in a worker', async () => {
    const proxy = await nested('worker')
    await proxy.server.reload()
    expect(await refusal(proxy)).toMatchObject({ reason: 'v2' })
  })

  it('cannot be in this thread: the reload is refused and says what to do', async () => {
    const proxy = await nested('none')
    await expect(proxy.server.reload()).rejects.toThrow(
      /imports ".*version\.js", which has changed: restart pgbearer, or let the module have isolation = "worker"/,
    )
    expect(await refusal(proxy)).toMatchObject({ reason: 'v1' })
  })
})

it('a worker that ends after the file has changed is not replaced by one of another version', async () => {
  const proxy = await start('worker', { 'acme.js': moduleText('v1') }, './acme.js')
  proxy.writeFile('acme.js', moduleText('v2'))
  expect(await refusal(proxy)).toMatchObject({ reason: 'v1' })
  expect(await refusal(proxy, 'exit')).toMatchObject({ reason: 'validator_crashed' })
  await vi.waitFor(async () => {
    expect(await refusal(proxy)).toMatchObject({
      reason: expect.stringMatching(/^validator_fault|validator_fenced$/),
    })
  })
  await sleep(100)
  expect((await refusal(proxy))['detail']).toContain(
    'has changed since it was loaded: reload the configuration',
  )
  expect(proxy.lines.some(({ reason }) => reason === 'v2')).toBe(false)
  await proxy.server.reload()
  expect(await refusal(proxy)).toMatchObject({ reason: 'v2' })
})
