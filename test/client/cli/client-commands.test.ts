import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addClientCommands } from '../../../src/client/cli/client-commands.ts'
import { refusal, scriptedIssuer, tokenAnswer } from '../support/scripted-issuer.ts'
import { honest, scriptedServer } from '../support/scripted-server.ts'

let directory: string
beforeAll(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'pgb-cmd-'))
  await fs.writeFile(path.join(directory, 'token'), 'the-token', { mode: 0o600 })
})
afterAll(() => fs.rm(directory, { recursive: true, force: true }))
afterEach(() => {
  process.exitCode = undefined
})

/** Types a command line. */
async function pgbearer(...words: string[]): Promise<{ code: unknown; out: string; err: string }> {
  let out = ''
  let err = ''
  const program = new Command('pgbearer').exitOverride().configureOutput({
    writeOut: (text) => (out += text),
    writeErr: (text) => (err += text),
  })
  addClientCommands(program, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
  })
  for (const command of program.commands) {
    command.exitOverride().configureOutput({
      writeOut: (text) => (out += text),
      writeErr: (text) => (err += text),
    })
  }
  process.exitCode = undefined
  try {
    await program.parseAsync(words, { from: 'user' })
    return { code: process.exitCode, out, err }
  } catch (error) {
    return { code: (error as { code?: string }).code, out, err }
  } finally {
    process.exitCode = undefined
  }
}

const TOKEN = () => ['--source', 'file', '--path', path.join(directory, 'token')]
/** A program that writes down what it sees. */
async function say(expression: string): Promise<readonly string[]> {
  const script = path.join(directory, 'say.cjs')
  const out = JSON.stringify(path.join(directory, 'out'))
  await fs.writeFile(script, `require('node:fs').writeFileSync(${out}, String(${expression}))`)
  return ['--', process.execPath, script]
}
const said = (): Promise<string> => fs.readFile(path.join(directory, 'out'), 'utf8')

describe('the command line', () => {
  it('N1: token prints the token', async () => {
    expect(await pgbearer('token', ...TOKEN())).toEqual({ code: 0, out: 'the-token\n', err: '' })
    const json = await pgbearer('token', ...TOKEN(), '--format', 'json')
    expect(JSON.parse(json.out)).toEqual({ access_token: 'the-token', token_type: 'Bearer' })
  })

  it('N3: wrong flags are wrong usage', async () => {
    expect(await pgbearer('token', '--source', 'nonsense')).toMatchObject({
      code: 'commander.invalidArgument',
    })
    expect(await pgbearer('token', 'nonsense')).toMatchObject({ code: 2 })
    expect(await pgbearer('exec', ...TOKEN(), '--', 'true')).toMatchObject({ code: 2 })
    expect(
      await pgbearer('exec', ...TOKEN(), '--host', 'h', '--port', '0', '--', 'x'),
    ).toMatchObject({
      code: 'commander.invalidArgument',
    })
    expect(await pgbearer('exec', ...TOKEN(), '--host', 'h')).toMatchObject({
      code: 'commander.missingArgument',
    })
  })

  it('N8: logout is an action of token', async () => {
    const file = path.join(directory, 'refresh')
    expect(await pgbearer('token', 'logout', '--refresh-token-file', file)).toEqual({
      code: 0,
      out: '',
      err: 'not logged in\n',
    })
  })

  it('N3: a grant gets every flag, and its secret from a file', async () => {
    await using issuer = await scriptedIssuer({
      '/token': ({ form }) =>
        form['scope'] === 'a b' ? tokenAnswer('t') : refusal('invalid_scope'),
    })
    const file = path.join(directory, 'token')
    const flags = (scope: string): string[] => {
      const text = `token --source client-credentials --issuer ${issuer.issuer} --client-id c
        --client-secret-file ${file} --client-authentication post --allow-insecure-issuer
        --audience x --resource https://r --scope`
      return [...text.split(/\s+/), scope]
    }
    expect(await pgbearer(...flags('a b'))).toMatchObject({ code: 0, out: 't\n' })
    expect(issuer.at('/token')[0]!.form).toMatchObject({
      client_id: 'c',
      client_secret: 'the-token',
      audience: 'x',
      resource: 'https://r',
    })
    expect(await pgbearer(...flags('c'))).toMatchObject({ code: 2, out: '' })
  })

  it('N3: a token command is a program with arguments', async () => {
    const script = path.join(directory, 'get-token.js')
    await fs.writeFile(script, 'console.log(`{"access_token":"t"}`)')
    const plain = ['--token-command', process.execPath, script]
    expect(await pgbearer('token', '--source', 'exec', ...plain)).toMatchObject({
      code: 0,
      out: 't\n',
    })
  })

  it('N4: exec runs what follows the dashes, flags of its own included', async () => {
    await using server = await scriptedServer(honest(() => true))
    const where = [
      '--host',
      server.host,
      '--port',
      String(server.port),
      '--no-tls',
      '--insecure-loopback',
    ]
    const outcome = await pgbearer(
      'exec',
      ...TOKEN(),
      ...where,
      '-U',
      'ann',
      '-d',
      'app',
      ...(await say('[process.env.PGUSER, process.env.PGDATABASE, process.argv.slice(2)]')),
      '--host',
      'other',
      '--force',
    )
    expect(outcome).toMatchObject({ code: 0, err: '' })
    expect(await said()).toBe('ann,app,--host,other,--force')
  })

  it('N4: exec takes a connection string, and flags win over it', async () => {
    const uri =
      'postgresql://ann@db.example:6432/app?oauth_issuer=https://i.example&oauth_client_id=c'
    const expression = '[process.env.PGUSER, process.env.PGDATABASE]'
    expect(await pgbearer('exec', ...TOKEN(), '-d', uri, ...(await say(expression)))).toMatchObject(
      {
        code: 0,
      },
    )
    expect(await said()).toBe('ann,app')
    const plain = 'host=db.example user=ann dbname=app'
    await pgbearer('exec', ...TOKEN(), '-d', plain, '-U', 'bob', ...(await say(expression)))
    expect(await said()).toBe('bob,app')
  })

  it('N7: exec refuses a secret among its arguments, and what only a program may decide', async () => {
    for (const [text, why] of [
      ['host=h oauth_client_secret=very-secret', '--client-secret-file'],
      ['host=h channel_binding=require', 'channel binding'],
      ['host=h allow_insecure_transport=1', 'cannot be set'],
      ['host=h oauth_environment=test password=very-secret', 'exclude each other'],
    ]) {
      const outcome = await pgbearer('exec', ...TOKEN(), '-d', text!, '--', 'true')
      expect(outcome).toMatchObject({ code: 2 })
      expect(outcome.err).toContain(why)
      expect(outcome.err).not.toContain('very-secret')
    }
  })
})
