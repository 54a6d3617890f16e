/** A login keeps the client's token only where the settings need it, for the server behind, and gives it once. */
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createAuthenticator } from '../../src/authenticator.ts'
import { fromText } from '../../src/byte-string.ts'
import { settingsFromObject } from '../../src/config/load-settings.ts'
import type { SettingsInput } from '../../src/config/settings.ts'
import { silentLog } from '../../src/log.ts'
import type { ConversationLogin } from '../../src/login/login.ts'
import { loadSnapshot, type Snapshot } from '../../src/snapshot.ts'
import { firstMessage, fixtureValidator, OAUTH_RULE } from '../support/oauth-proxy.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { oauthBearer, saslResponse, kvsep } from '../support/wire-bytes.ts'

type OAuth = SettingsInput['upstream']['oauth']

const FORWARD: OAuth = { token: 'forward' }
const EXCHANGE: OAuth = {
  token: 'exchange',
  source: { issuer: 'https://login.example', client_id: 'pgbearer' },
}
const PROVIDER: OAuth = { token: 'provider', source: { environment: 'env', variable: 'X' } }

async function ruleSettings(): Promise<
  Pick<SettingsInput, 'hba_file' | 'oauth_validator_libraries' | 'validator_hosts'> & {
    baseDirectory: string
  }
> {
  const directory = await temporaryDirectory()
  await directory.write('pg_hba.conf', OAUTH_RULE)
  const library = fixtureValidator('accepts-anything')
  return {
    hba_file: 'pg_hba.conf',
    oauth_validator_libraries: [library],
    validator_hosts: { [library]: { isolation: 'none' } },
    baseDirectory: directory.path,
  }
}

async function snapshotWith(oauth: OAuth): Promise<Snapshot> {
  const { baseDirectory, ...rules } = await ruleSettings()
  const upstream = { host: '127.0.0.1', ...(oauth === undefined ? {} : { oauth }) }
  const settings = settingsFromObject({ ...rules, upstream }, baseDirectory)
  const snapshot = await loadSnapshot(settings, silentLog)
  onTestFinished(() => snapshot.authenticator[Symbol.asyncDispose]())
  return snapshot
}

/** A login that has been sent a token, which the validator takes for the role. */
async function logIn(
  { authenticator }: Pick<Snapshot, 'authenticator'>,
  token = 'alice',
): Promise<ConversationLogin> {
  const { signal } = new AbortController()
  const request = {
    id: '1',
    user: fromText('alice'),
    database: fromText('db'),
    physicalReplication: false,
    clientAddress: '127.0.0.1',
    tls: false,
  }
  const login = await authenticator.begin(request, { signal })
  if (login.kind !== 'conversation') {
    throw new Error('an oauth rule is decided here')
  }
  await login.conversation.start()
  const step = await login.conversation.push(firstMessage(oauthBearer(`Bearer ${token}`)))
  if (step.kind !== 'accepted') {
    await login.conversation.push(saslResponse(kvsep))
  }
  return login
}

describe('the token of a client', () => {
  test.each([
    ['forward', FORWARD],
    ['exchange', EXCHANGE],
  ])('is kept with %s, and handed over once', async (_word, oauth) => {
    const login = await logIn(await snapshotWith(oauth))
    expect(login.takeToken?.()).toBe('alice')
    expect(login.takeToken?.()).toBeUndefined()
    await login.close()
  })

  test.each([
    ['no [upstream.oauth]', undefined],
    ['provider', PROVIDER],
  ])('is not kept with %s', async (_word, oauth) => {
    const login = await logIn(await snapshotWith(oauth))
    expect(login.takeToken?.()).toBeUndefined()
    await login.close()
  })

  test('is not kept for an embedder', async () => {
    const authenticator = await createAuthenticator(await ruleSettings())
    onTestFinished(() => authenticator[Symbol.asyncDispose]())
    const login = await logIn({ authenticator })
    expect(login.takeToken?.()).toBeUndefined()
    await login.close()
  })

  test('is forgotten when the login is closed', async () => {
    const login = await logIn(await snapshotWith(FORWARD))
    await login.close()
    expect(login.takeToken?.()).toBeUndefined()
  })

  test('is not kept when it was refused', async () => {
    const login = await logIn(await snapshotWith(FORWARD), 'bob')
    expect(login.takeToken?.()).toBeUndefined()
    await login.close()
  })

  test('is there for one login behind, and gone after it', async () => {
    const { upstreamTokens } = await snapshotWith(FORWARD)
    const user = fromText('alice')
    const { signal } = new AbortController()
    const lease = upstreamTokens?.lease({ role: user, clientToken: 'the-token-itself' })
    expect(inspect([upstreamTokens, lease], { depth: 9, showHidden: true })).not.toContain('itself')
    expect(await lease?.bearer.bearerToken({ user, signal })).toBe('the-token-itself')
    await lease?.end()
    await expect(lease?.bearer.bearerToken({ user, signal })).rejects.toThrow('without a token')
  })
})
