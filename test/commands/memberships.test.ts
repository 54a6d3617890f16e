/** Rules with +role where a login reads the catalog of the server behind. */
import { describe, expect, test } from 'vitest'
import { withPostgres } from '../support/postgres.ts'
import { checkShape, explainFailureShape, explanationShape } from './json-shapes.ts'
import { type Configuration, configure, runCheck, runExplain } from './support.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })

async function configuration(port: number): Promise<Configuration> {
  return configure({
    'pgbearer.toml': `[upstream]
host = "127.0.0.1"
port = ${port}
sslmode = "disable"
users_file = "users.toml"
memberships_user = "reader"
`,
    'users.toml': '[reader]\npassword = "x"\n',
    'pg_hba.conf': 'host all +staff 10.0.0.0/8 reject\nhost all all all trust\n',
  })
}

const question = { database: 'app', address: '10.1.2.3' }

describe('explain', () => {
  test('reads the memberships first', async () => {
    await postgres().query(`create role reader login; create role staff; create role ann;
      create role bob; grant staff to ann`)
    const { config } = await configuration(postgres().port)
    expect((await runExplain({ config, ...question, user: 'ann' })).status).toBe(2)
    const { status, stdout } = await runExplain({ config, ...question, user: 'bob', json: true })
    expect(status).toBe(0)
    expect(explanationShape.parse(JSON.parse(stdout)).rules).toMatchObject([
      { user_name: ['+staff'], mismatch: 'user' },
      { matches: true },
    ])
  })

  test('cannot tell without the server, and says why', async () => {
    const { config } = await configuration(1)
    const { status, stdout } = await runExplain({ config, ...question, user: 'bob', json: true })
    expect(status).toBe(1)
    expect(explainFailureShape.parse(JSON.parse(stdout)).errors).toMatchObject([
      { code: 'ERR_MEMBERSHIPS_UNKNOWN', detail: expect.stringContaining('have not been read') },
      { message: expect.stringContaining('could not read role memberships') },
    ])
  })

  test('can tell without the server where no rule on the way asks for memberships', async () => {
    const { config } = await configuration(1)
    const { status } = await runExplain({ config, user: 'bob', address: '192.168.0.1' })
    expect(status).toBe(0)
  })
})

describe('check', () => {
  test('asks nobody, and takes memberships from the expectation', async () => {
    const { config, write } = await configuration(1)
    const expectation = 'user = "ann"\naddress = "10.1.2.3"\n'
    const file = write(
      'expectations.toml',
      `[[expect]]\n${expectation}member_of = ["staff"]\noutcome = "reject"
[[expect]]\n${expectation}member_of = []\noutcome = "trust"
[[expect]]\n${expectation}outcome = "trust"\n`,
    )
    const { status, stdout } = await runCheck({ config, expect: file, json: true })
    expect(status).toBe(1)
    const { errors, expectations } = checkShape.parse(JSON.parse(stdout))
    expect(errors).toEqual([])
    expect(expectations?.map(({ ok }) => ok)).toEqual([true, true, false])
    expect(expectations?.[2]?.differences).toMatchObject([
      { field: 'question', got: expect.stringContaining('state them with member_of') },
    ])
  })
})
