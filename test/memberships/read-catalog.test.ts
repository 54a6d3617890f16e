/** A server that does not answer as it should; what a real one answers is in the other files. */
import { describe, expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { UpstreamError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { readCatalog } from '../../src/memberships/read-catalog.ts'
import type { RoleGraph } from '../../src/memberships/role-graph.ts'
import {
  AUTHENTICATION_OK,
  message,
  READY,
  type ScriptedPeer,
  scriptedServer,
  upstreamSettings,
} from '../upstream/support.ts'

const BYTES = message('S', 'client_encoding\0SQL_ASCII\0')

const int16 = (value: number): string => String.fromCharCode(value >> 8, value & 0xff)

/** A DataRow; null is NULL. */
function row(...columns: readonly (string | null)[]): Buffer {
  const values = columns.flatMap((column) => (column === null ? [-1] : [column.length, column]))
  return message('D', int16(columns.length), ...values)
}

interface Talk {
  readonly greeting?: Buffer
  readonly signal?: AbortSignal
  /** Called once the query has come. */
  readonly asked?: (peer: ScriptedPeer, query: string) => void
}

/** Asks a server that answers with `parts`, and checks that nothing is left open. */
async function read(parts: readonly Buffer[], talk: Talk = {}): Promise<RoleGraph> {
  const { greeting = BYTES, signal = new AbortController().signal, asked } = talk
  await using server = await scriptedServer(async (peer) => {
    await peer.readStartup()
    peer.write(AUTHENTICATION_OK, greeting, READY)
    const query = await peer.readMessage()
    asked?.(peer, query.toString('latin1', 5))
    peer.write(...parts)
    if (asked !== undefined) {
      await peer.untilGone()
    }
  })
  const target = {
    upstream: upstreamSettings({ port: server.port }),
    user: fromText('reader'),
    database: fromText('postgres'),
    credential: undefined,
  }
  try {
    return await readCatalog(target, { signal, log: silentLog })
  } finally {
    await server.untilIdle()
  }
}

async function refusal(...parts: readonly Buffer[]): Promise<unknown> {
  return read(parts).then(
    () => 'read',
    (error: unknown) => (error instanceof UpstreamError ? error.reason : error),
  )
}

const DONE = [message('C', 'SELECT 1\0'), READY]

test('rows come as roles and what they were granted', async () => {
  const graph = await read([row('ann', 'dev'), row('dev', null), ...DONE])
  expect(graph.size).toBe(2)
  expect(graph.isMember(fromText('ann'), fromText('dev'))).toBe(true)
})

test('what servers may say in between changes nothing', async () => {
  const between = [message('N', 'SNOTICE\0\0'), message('S', 'a\0b\0'), message('A', 1, 'x\0y\0')]
  const graph = await read([message('T', int16(0)), row('ann', null), ...between, ...DONE])
  expect(graph.size).toBe(1)
})

test('the query needs no search_path', async () => {
  let asked = ''
  await read(DONE, {
    asked: (peer, query) => {
      asked = query
      peer.write()
    },
  })
  expect(asked).toContain('pg_catalog.pg_auth_members')
  expect(asked.replaceAll('OPERATOR(pg_catalog.=)', '')).not.toContain('=')
})

describe('no answer is taken from a server that', () => {
  test('refuses the query', async () => {
    expect(await refusal(message('E', 'C42501\0Mpermission denied\0\0'), READY)).toBe('refused')
  })

  test('closes in the middle of a row', async () => {
    expect(await refusal(row('ann', 'dev').subarray(0, 9))).toBe('closed')
  })

  test('closes before the end of the answer', async () => {
    expect(await refusal(row('ann', 'dev'))).toBe('closed')
  })

  test.each([
    ['one column that is NULL', row(null)],
    ['three columns', row('a', 'b', 'c')],
    ['fewer columns than it says', message('D', int16(2), 1, 'a')],
    ['more bytes than its columns', message('D', int16(1), 1, 'ab')],
    ['a column longer than the row', message('D', int16(2), 1, 'a', 9, 'b')],
    ['a column of a negative length', message('D', int16(2), 1, 'a', -2)],
    ['no count of columns', message('D')],
    ['a message that is no answer', message('G', '\0\0\0')],
    ['a second login', AUTHENTICATION_OK],
    ['a length below that of the length word', Buffer.from('D\0\0\0\x03', 'latin1')],
    ['a length beyond all bounds', Buffer.from('D\x7f\xff\xff\xff', 'latin1')],
  ])('sends %s', async (_name, bytes) => {
    expect(await refusal(bytes, ...DONE)).toBe('protocol_violation')
  })

  test('sends names in another encoding', async () => {
    const utf8 = message('S', 'client_encoding\0UTF8\0')
    await expect(read(DONE, { greeting: utf8 })).rejects.toMatchObject({ reason: 'encoding' })
  })

  test('does not say in which encoding it sends names', async () => {
    const nothing = Buffer.alloc(0)
    await expect(read(DONE, { greeting: nothing })).rejects.toMatchObject({ reason: 'encoding' })
  })

  test('never ends its answer', async () => {
    const long = Buffer.concat(Array.from({ length: 40 }, () => row('x'.repeat(29_000), null)))
    expect(await refusal(...Array.from({ length: 64 }, () => long))).toBe('protocol_violation')
  })

  test('is silent when the reader has to stop', async () => {
    const controller = new AbortController()
    const reading = read([], {
      signal: controller.signal,
      asked: () => controller.abort(new Error('enough')),
    })
    await expect(reading).rejects.toThrow('enough')
  })
})
