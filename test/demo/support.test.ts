/** The tools of the tests, tried on a real PostgreSQL before they judge anything else. */
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'

import { withCertificates } from '../support/certificates.ts'
import { runProgram, startProgram } from '../support/child-process.ts'
import { perFile } from '../support/per-file.ts'
import { startPostgres } from '../support/postgres.ts'
import { eventually, processExists } from '../support/processes.ts'
import { rawClient } from '../support/raw-client.ts'
import { makeTemporaryDirectory } from '../support/temporary-directory.ts'
import { startTokenIssuer } from '../support/token-issuer.ts'
import {
  bytes,
  cancelRequest,
  errorFields,
  PROTOCOL_3_2,
  query,
  sslRequest,
  startupMessage,
  terminate,
} from '../support/wire-bytes.ts'

const certificates = withCertificates()
const server = perFile(() =>
  startPostgres({ ssl: certificates().server, hba: 'host all all 127.0.0.1/32 trust\n' }),
)
const startup = startupMessage({ user: 'postgres', database: 'postgres' })

describe('a raw client', () => {
  test('logs in and asks a question in bytes', async () => {
    const client = await rawClient({ port: server().port })
    client.send(startup)
    const login = await client.readUntil('Z')
    expect(login[0]).toMatchObject({ type: 'R', body: Buffer.alloc(4) })
    client.send(query('SELECT 42'))
    const answer = await client.readUntil('Z')
    expect(answer.map(({ type }) => type).join('')).toBe('TDCZ')
    expect(answer[1]?.body.toString('latin1', 6)).toBe('42')
    client.send(terminate)
    await client.expectClose()
  })

  test('sends a byte at a time', async () => {
    const client = await rawClient({ port: server().port })
    await client.sendSplit(startup)
    expect((await client.readUntil('Z')).length).toBeGreaterThan(3)
  })

  test('talks to a Unix socket', async () => {
    const { socketDirectory, port } = server()
    const client = await rawClient({ path: `${socketDirectory}/.s.PGSQL.${port}` })
    client.send(sslRequest)
    expect((await client.read(1)).toString()).toBe('N')
  })

  test('reads the fields of an error', async () => {
    const client = await rawClient({ port: server().port })
    client.send(startupMessage({ user: 'nobody', database: 'postgres' }))
    expect((await client.readMessage()).type).toBe('R')
    expect(await client.readError()).toMatchObject({
      S: 'FATAL',
      C: '28000',
      M: 'role "nobody" does not exist',
    })
    await client.expectClose()
  })

  test('negotiates TLS both ways', async () => {
    for (const how of ['startTls', 'handshake'] as const) {
      const client = await rawClient({ port: server().port })
      const ca = certificates().authority.cert
      const socket = await client[how]({ ca, rejectUnauthorized: true, servername: 'localhost' })
      expect(socket.alpnProtocol).toBe('postgresql')
      client.send(startup)
      await client.readUntil('Z')
    }
  })

  test('fails the TLS handshake with a server it does not trust', async () => {
    const client = await rawClient({ port: server().port })
    await expect(client.startTls({ rejectUnauthorized: true })).rejects.toMatchObject({
      code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    })
  })

  test('speaks protocol 3.2 and cancels with a long key', async () => {
    const client = await rawClient({ port: server().port })
    client.send(startupMessage({ user: 'postgres' }, PROTOCOL_3_2))
    const key = (await client.readUntil('Z')).find(({ type }) => type === 'K')!.body
    expect(key).toHaveLength(4 + 32)
    client.send(query('SELECT pg_sleep(600)'))
    await eventually(async () => {
      const sql = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = $1"
      return (await server().query(sql, [key.readInt32BE()])).length === 1
    })
    const canceller = await rawClient({ port: server().port })
    canceller.send(cancelRequest(key.readInt32BE(), key.subarray(4)))
    await canceller.expectClose()
    const answer = await client.readUntil('Z')
    expect(answer.map(({ type }) => type).join('')).toBe('TEZ')
    expect(errorFields(answer[1]!.body)).toMatchObject({ C: '57014' })
  })

  test('notices a silent close', async () => {
    const client = await rawClient({ port: server().port })
    client.send('GET / HTTP/1.1\r\n\r\n')
    await client.expectClose()
  })

  test('tells what came where a close was expected', async () => {
    const client = await rawClient({ port: server().port })
    client.send(startupMessage({ user: 'nobody' }))
    await expect(client.expectClose()).rejects.toThrow('does not exist')
  })

  test('tells what came where more was expected', async () => {
    const client = await rawClient({ port: server().port })
    client.send(sslRequest)
    client.end()
    await expect(client.read(9)).rejects.toThrow(
      'waiting for 9 bytes: the server closed; unread: "S"',
    )
  })

  test('knows silence', async () => {
    const client = await rawClient({ port: server().port })
    client.send(startup.subarray(0, -1))
    expect(await client.isSilent(50)).toBe(true)
    client.send(startup.subarray(-1))
    expect(await client.isSilent(50)).toBe(false)
  })

  test('leaves with a reset', async () => {
    const seen = new Promise<string | undefined>((resolve) => {
      const listener = createServer((socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
        socket.on('end', () => resolve('end'))
        socket.resume()
      })
      listener.listen(0, '127.0.0.1', () => {
        const { port } = listener.address() as AddressInfo
        void rawClient({ port }).then((client) => client.reset())
      })
      onTestFinished(() => void listener.close())
    })
    expect(await seen).toBe('ECONNRESET')
  })
})

test('messages are laid out as the protocol says', () => {
  expect(sslRequest.toString('hex')).toBe('0000000804d2162f')
  expect(startupMessage({ user: 'u' }).toString('latin1')).toBe(
    '\0\0\0\u0010\0\u0003\0\0user\0u\0\0',
  )
  expect(query('x').toString('latin1')).toBe('Q\0\0\0\u0006x\0')
  expect(bytes('é').toString('hex')).toBe('c3a9')
})

test('a program’s output and end are captured', async () => {
  const script =
    'console.log("out"); console.error(process.env.SEEN, process.env.HOME); process.exit(3)'
  const end = await runProgram(process.execPath, ['-e', script], {
    env: { SEEN: 'yes', HOME: undefined },
  })
  expect(end).toEqual({ status: 3, signal: null, stdout: 'out\n', stderr: 'yes undefined\n' })
})

test('a program that ends before it says what was waited for tells what it said', async () => {
  const program = startProgram(process.execPath, ['-e', 'console.error("oops")'])
  await expect(program.waitFor(/ready/)).rejects.toThrow('stderr: oops')
})

test('a program that is not there is an end, too', async () => {
  const { status, stderr } = await runProgram('/no/such/program', [])
  expect(status).toBeNull()
  expect(stderr).toContain('ENOENT')
})

test('a program is gone when it is disposed of', async () => {
  const program = startProgram(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  await program[Symbol.asyncDispose]()
  expect(processExists(program.pid)).toBe(false)
})

test('a temporary directory is gone when it is disposed of', async () => {
  const directory = await makeTemporaryDirectory()
  const file = await directory.write('secret', 'x')
  expect(existsSync(file)).toBe(true)
  await directory[Symbol.asyncDispose]()
  expect(existsSync(directory.path)).toBe(false)
})

test('a token issuer changes its keys, fails and hangs on request', async () => {
  await using issuer = await startTokenIssuer()
  const keys = async (): Promise<string> => await (await fetch(`${issuer.issuer}/jwks`)).text()
  const before = await keys()
  expect(before).not.toContain('"d"')
  await issuer.rotateKeys()
  expect(await keys()).not.toBe(before)
  issuer.behave('fail')
  expect((await fetch(`${issuer.issuer}/jwks`)).status).toBe(500)
  issuer.behave('hang')
  const hanging = fetch(`${issuer.issuer}/jwks`, { signal: AbortSignal.timeout(50) })
  await expect(hanging).rejects.toThrow()
  expect(issuer.requests.filter((request) => request === 'GET /jwks')).toHaveLength(4)
})
