/** What explain says is what the proxy does: the same line in the log, the same words for the client. */
import { describe, expect, test } from 'vitest'
import { explanationShape } from './json-shapes.ts'
import { fixtureValidator } from '../support/oauth-proxy.ts'
import { perFile } from '../support/per-file.ts'
import { type LogLine, startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import {
  kvsep,
  oauthBearer,
  saslInitialResponse,
  saslResponse,
  startupMessage,
} from '../support/wire-bytes.ts'
import { configure, runExplain, UPSTREAM } from './support.ts'

const HBA = `host nowhere all 127.0.0.1/32 reject
host mapped all 127.0.0.1/32 oauth issuer=https://i.example scope=s map=m
host delegated all 127.0.0.1/32 oauth issuer=https://i.example scope=s delegate_ident_mapping=1
host plain all 127.0.0.1/32 oauth issuer=https://i.example scope=s
`
const IDENT = 'm bob bob\nm /^n$ \\1\n'

const proxy = perFile(() =>
  startProxy({
    hba: HBA,
    ident: IDENT,
    oauth_validator_libraries: [fixtureValidator('accepts-anything')],
    log_connections: ['authentication'],
  }),
)

/** The connection's lines from `log` on, in the proxy's log. */
async function logOf(database: string, user: string, token: string): Promise<unknown[]> {
  const running = proxy()
  const before = running.lines.length
  const client = await rawClient({ port: running.port })
  client.send(startupMessage({ user, database }))
  client.send(saslInitialResponse('OAUTHBEARER', oauthBearer(`Bearer ${token}`)))
  client.send(saslResponse(kvsep))
  await client.readToEnd()
  const isLast = (line: LogLine): boolean =>
    running.lines.indexOf(line) >= before && line.level === 'fatal'
  await running.logged(isLast)
  return running.lines
    .slice(before)
    .filter(({ level, code }) => level !== 'debug' && code !== 'ERR_UPSTREAM')
    .map((line) => bare(line, running.directory))
}

// Times, numbers of connections and directories are each time's own.
function bare(line: Readonly<Record<string, unknown>>, directory: string): unknown {
  const { time: _, connection: __, ...rest } = line
  return JSON.parse(JSON.stringify(rest).replaceAll(`${directory}/`, ''))
}

describe('the log of a login', () => {
  test.each([
    ['nowhere', 'alice', 'alice'],
    ['no such database', 'alice', 'alice'],
    ['mapped', 'alice', 'alice'],
    ['mapped', 'n', 'n'],
    ['mapped', 'bob', 'bob'],
    ['delegated', 'alice', 'eve'],
    ['plain', 'alice', 'eve'],
    ['plain', 'alice', 'alice'],
    ['plain', 'alice', 'two words'],
  ])('to %s as %s with the token "%s" is what explain says', async (database, user, token) => {
    const { config, directory, write } = configure({
      'pgbearer.toml': `oauth_validator_libraries = [${JSON.stringify(fixtureValidator('accepts-anything'))}]
log_connections = ["authentication"]
${UPSTREAM}`,
      'pg_hba.conf': HBA,
      'pg_ident.conf': IDENT,
    })
    const tokenFile = write('token', token)
    const question = { config, user, database, address: '127.0.0.1', tokenFile }
    const { stdout } = await runExplain({ ...question, json: true })
    const { outcome, verdict } = explanationShape.parse(JSON.parse(stdout))
    const logged = await logOf(database, user, token)
    expect(outcome.log.map((line) => bare(line, directory))).toEqual(logged)
    const refused = logged.some((line) => (line as LogLine).level === 'fatal')
    expect(verdict).toBe(refused ? 'refused' : 'accepted')
  })
})
