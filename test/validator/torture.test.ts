/**
 * Every module that misbehaves, at once, in one running proxy in front of a real PostgreSQL, with good modules under
 * load beside them: no good login is lost, and nobody learns anything.
 */
import { readFileSync } from 'node:fs'
import { beforeAll, expect, it, vi } from 'vitest'
import { DISCOVERY_JSON, firstMessage, fixtureValidator, ISSUER } from '../support/oauth-proxy.ts'
import { perFile } from '../support/per-file.ts'
import { withPostgres } from '../support/postgres.ts'
import { type LogLine, startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  int32,
  kvsep,
  message,
  oauthBearer,
  saslResponse,
  startupMessage,
  terminate,
} from '../support/wire-bytes.ts'
import { piecesIn, TOKEN } from './support.ts'

const INTERNAL = 'internal error in OAuth validator module'
/** How often each client of a good module logs in at least, during the storm and right behind it. */
const GOOD_LOGINS = 50
const ENDED = 'worker of OAuth validator module ended'
const LATE = 'OAuth validator module answered too late, the answer is dropped'

interface Case {
  readonly module: string
  readonly role?: string
  /** Its token is good although it misbehaves: afterwards, or elsewhere. */
  readonly accepted?: true
  /** Reasons of the internal error, any of them. None: the module decides. */
  readonly reasons?: readonly string[]
  /** A line about the module. */
  readonly says?: string
}

const CASES: readonly Case[] = [
  { module: 'throws-in-startup', reasons: ['threw'] },
  { module: 'throws-in-validate', reasons: ['threw'] },
  { module: 'throws-in-shutdown', accepted: true, says: INTERNAL },
  { module: 'throws-nonsense', reasons: ['threw'] },
  { module: 'throws-the-token', reasons: ['threw'] },
  { module: 'returns-false', reasons: ['returned_false'] },
  { module: 'returns-true', reasons: ['bad_result'] },
  { module: 'getter-throws', reasons: ['bad_result'] },
  { module: 'proxy-result', reasons: ['bad_result'] },
  { module: 'pollutes-prototypes', reasons: ['bad_result'] },
  { module: 'huge-authn-id', reasons: ['bad_authn_id'] },
  { module: 'control-character', reasons: ['bad_authn_id'] },
  { module: 'lone-surrogate', reasons: ['bad_authn_id'] },
  { module: 'token-as-identity', reasons: ['bad_authn_id'] },
  { module: 'resolves-twice' },
  { module: 'changes-its-answer' },
  { module: 'mutates-its-request' },
  { module: 'keeps-the-token' },
  { module: 'logs-its-request' },
  { module: 'prints-the-token', says: 'OAuth validator module wrote to its console' },
  { module: 'startup-never-settles', reasons: ['timeout'] },
  { module: 'never-settles', reasons: ['timeout'] },
  { module: 'answers-late', reasons: ['timeout'], says: LATE },
  { module: 'answers-late', role: 'reject', reasons: ['timeout'], says: LATE },
  { module: 'calls-process-exit', role: 'exit', reasons: ['crashed', 'fenced'], says: ENDED },
  { module: 'spins', role: 'spin', reasons: ['timeout', 'crashed', 'fenced'], says: ENDED },
  {
    module: 'burns-its-core',
    role: 'burn',
    reasons: ['timeout', 'crashed', 'fenced'],
    says: ENDED,
  },
  {
    module: 'floods-its-log',
    role: 'flood',
    reasons: ['timeout', 'crashed', 'fenced'],
    says: 'OAuth validator module writes too much, the rest is dropped',
  },
  { module: 'eats-memory', role: 'eat', reasons: ['timeout', 'crashed', 'fenced'], says: ENDED },
  {
    module: 'fails-after-its-answer',
    role: 'reject',
    accepted: true,
    says: 'OAuth validator module left a promise that rejected',
  },
  { module: 'fails-after-its-answer-too', role: 'throw', accepted: true, says: ENDED },
]

const modules = [...new Set(CASES.map(({ module }) => module))]
const libraryOf = (module: string): string => `./${module}.js`
const fixtureText = (module: string): string =>
  readFileSync(fixtureValidator(module.replace(/-too$/, '')), 'utf8')

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })
const proxy = perFile(() =>
  startProxy({
    hba: [
      `host here all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db validator="${fixtureValidator('accepts-anything')}"`,
      `host there all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db validator=./good.js`,
      ...modules.map(
        (module) =>
          `host ${module} all 127.0.0.1/32 oauth issuer=${ISSUER} scope=db validator=${libraryOf(module)}`,
      ),
    ].join('\n'),
    files: {
      'good.js': fixtureText('accepts-anything'),
      ...Object.fromEntries(modules.map((module) => [`${module}.js`, fixtureText(module)])),
    },
    oauth_validator_libraries: [
      fixtureValidator('accepts-anything'),
      './good.js',
      ...modules.map(libraryOf),
    ],
    validator_hosts: Object.fromEntries(
      modules.map((module) => [
        module,
        { validator_timeout: '1s', resource_limits: { max_old_generation_size_mb: 32 } },
      ]),
    ),
    max_logins_in_progress: 500,
    upstream: { host: postgres().host, port: postgres().port, sslmode: 'disable' },
  }),
)

beforeAll(async () => {
  await postgres().query('create role ali login')
  await postgres().query('create database here')
  await postgres().query('create database there')
}, 60_000)

interface Login {
  readonly database: string
  readonly role?: string | undefined
  readonly token: string
}

/** `session`: up to ReadyForQuery. Otherwise all that the client was told. */
async function login({ database, role = 'ali', token }: Login): Promise<'session' | Buffer> {
  const client = await rawClient({ port: proxy().port })
  client.send(startupMessage({ user: role, database }))
  await client.readMessage()
  client.send(firstMessage(oauthBearer(`Bearer ${token}`)))
  const answer = await client.readMessage()
  if (answer.type === 'R' && answer.body.readInt32BE(0) === 0) {
    let next = await client.readMessage()
    while (next.type !== 'Z' && next.type !== 'E') {
      next = await client.readMessage()
    }
    client.send(terminate)
    client.destroy()
    return next.type === 'Z' ? 'session' : Buffer.concat([answer.raw, next.raw])
  }
  client.send(saslResponse(kvsep))
  return Buffer.concat([answer.raw, await client.readToEnd()])
}

const refusal = (role: string): Buffer =>
  Buffer.concat([
    message('R', int32(11), DISCOVERY_JSON),
    message(
      'E',
      `SFATAL\0VFATAL\0C28000\0MOAuth bearer authentication failed for user "${role}"\0\0`,
    ),
  ])

const isAbout = (module: string) => (line: LogLine) => line['validator'] === libraryOf(module)

it('loses no good login, lets nobody in, and tells its own log alone what went wrong', async () => {
  const calm = new AbortController()
  // However slow the machine is: so many good logins are asked for, and all of them have to get in.
  const during = { here: 0, there: 0 }
  const good = async (database: 'here' | 'there'): Promise<void> => {
    let logins = 0
    while (!calm.signal.aborted || logins < GOOD_LOGINS) {
      expect(await login({ database, token: 'ali' })).toBe('session')
      logins += 1
      during[database] += calm.signal.aborted ? 0 : 1
    }
  }
  const load = [good('here'), good('there'), good('there')]
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(
      CASES.map(async ({ module, role = 'ali', accepted }) => {
        const told = await login({ database: module, role, token: TOKEN })
        if (accepted === true) {
          // It got as far as the server behind, which has no such database or role.
          expect(String(told)).toMatch(/^R\0\0\0\x08\0\0\0\0E[^]*(3D000|28000)[^]*does not exist/)
          return
        }
        expect(told, module).toEqual(refusal(role))
      }),
    )
  }
  await vi.waitFor(
    () => {
      for (const { module, says } of CASES) {
        const lines = proxy().lines.filter(isAbout(module))
        expect(says === undefined || lines.some(({ msg }) => msg === says), module).toBe(true)
      }
    },
    { timeout: 15_000, interval: 50 },
  )
  calm.abort()
  await Promise.all(load)

  expect(during.here).toBeGreaterThan(0)
  expect(during.there).toBeGreaterThan(0)
  for (const { module, reasons } of CASES.filter((one) => one.reasons !== undefined)) {
    const faults = proxy()
      .lines.filter(isAbout(module))
      .filter(({ msg }) => msg === INTERNAL)
    expect(faults.length, module).toBeGreaterThanOrEqual(2)
    expect(reasons, module).toEqual(
      expect.arrayContaining(
        faults.map(({ phase, reason }) => (phase === 'shutdown' ? reasons?.[0] : reason)),
      ),
    )
  }
  expect(piecesIn(proxy().logText(), TOKEN)).toEqual([])
}, 60_000)

it('goes on after the storm with every module that can still do something', async () => {
  for (const module of [
    'calls-process-exit',
    'spins',
    'eats-memory',
    'fails-after-its-answer',
    'burns-its-core',
    'floods-its-log',
  ]) {
    await vi.waitFor(
      async () => {
        const before = proxy().lines.length
        await login({ database: module, token: 'anything' })
        const lines = proxy().lines.slice(before).filter(isAbout(module))
        expect(lines.filter(({ msg }) => msg === INTERNAL)).toEqual([])
      },
      { timeout: 10_000, interval: 100 },
    )
  }
  expect(({} as { authorized?: boolean }).authorized).toBeUndefined()
  await vi.waitFor(() => expect(proxy().server.clientCount).toBe(0), 10_000)
}, 60_000)
