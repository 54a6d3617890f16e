import { Buffer } from 'node:buffer'
import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import tls from 'node:tls'
import { inspect } from 'node:util'
import { serialize } from 'pg-protocol'
import { describe, expect, test } from 'vitest'
import { createCertificateAuthority } from '../../src/demo/certificates.ts'
import { ReportError, UpstreamError } from '../../src/errors.ts'
import { sendCancelRequest } from '../../src/upstream/send-cancel-request.ts'
import type { UpstreamSettings } from '../../src/upstream/settings.ts'
import {
  AUTHENTICATION_OK,
  connect,
  message,
  messageTypes,
  READY,
  type ScriptedPeer,
  type ScriptedServer,
  scriptedServer,
  startup,
  upstreamSettings,
} from './support.ts'

const SECRET = { password: 'pencil' }
const SASL_OFFER = message('R', 10, 'SCRAM-SHA-256\0', '\0')

type Script = (peer: ScriptedPeer, connection: number) => Promise<void> | void

/** Logs in to a server that does what `script` says, and checks that nothing is left open. */
async function outcome(
  script: Script,
  change: Partial<UpstreamSettings> = {},
  signal?: AbortSignal,
): Promise<unknown> {
  await using server = await scriptedServer(script)
  const settings = upstreamSettings({ port: server.port, ...change })
  try {
    const { socket } = await connect(settings, startup('alice'), SECRET, signal)
    socket.destroy()
    return 'logged in'
  } catch (error) {
    return error
  } finally {
    await server.untilIdle()
  }
}

async function reason(script: Script, change?: Partial<UpstreamSettings>): Promise<unknown> {
  const error = await outcome(script, change)
  expect(error).toBeInstanceOf(UpstreamError)
  // Whatever happens, the client reads one of two sentences.
  expect((error as UpstreamError).message).toMatch(
    /^could not (connect|log in) to the database server$/,
  )
  return (error as UpstreamError).reason
}

/** Reads the startup packet, then says `parts`. */
function says(...parts: readonly (string | Uint8Array)[]): Script {
  return async (peer) => {
    await peer.readStartup()
    peer.write(...parts)
  }
}

interface ScramScript {
  readonly change?: Partial<Record<'first' | 'final', (text: string) => string>>
  readonly skipFinal?: boolean
}

/** A server that knows the password and does SCRAM as RFC 5802 says, but for the changes. */
function scramServer({ change = {}, skipFinal = false }: ScramScript): Script {
  return async (peer) => {
    await peer.readStartup()
    peer.write(SASL_OFFER)
    const initial = (await peer.readMessage()).toString('latin1', 5)
    const bare = /n=,r=.*$/.exec(initial)?.[0] ?? ''
    const salt = randomBytes(16)
    const first = `${bare.slice(3)}${randomBytes(9).toString('base64')},s=${salt.toString('base64')},i=4096`
    peer.write(message('R', 11, change.first?.(first) ?? first))
    const final = (await peer.readMessage()).toString('latin1', 5)
    const salted = pbkdf2Sync('pencil', salt, 4096, 32, 'sha256')
    const serverKey = createHmac('sha256', salted).update('Server Key').digest()
    const auth = `${bare},${first},${final.slice(0, final.lastIndexOf(',p='))}`
    const signature = createHmac('sha256', serverKey).update(auth).digest('base64')
    if (!skipFinal) {
      peer.write(message('R', 12, change.final?.(`v=${signature}`) ?? `v=${signature}`))
    }
    peer.write(AUTHENTICATION_OK, READY)
  }
}

describe('a server that says too much, too little or something else', () => {
  test.each<[string, readonly (string | Uint8Array)[], string]>([
    ['HTTP', ['HTTP/1.1 400 Bad Request\r\n\r\n'], 'protocol_violation'],
    ['an error of protocol 2', ['EFATAL:  sorry\n\0'], 'protocol_violation'],
    ['a length of zero', [Buffer.from([0x52, 0, 0, 0, 0])], 'protocol_violation'],
    ['a length below 4', [Buffer.from([0x52, 0, 0, 0, 3])], 'protocol_violation'],
    ['a length of 4 GiB', [Buffer.from([0x45, 0xff, 0xff, 0xff, 0xff])], 'protocol_violation'],
    ['an authentication of 2001 bytes', [Buffer.from([0x52, 0, 0, 7, 0xd1])], 'protocol_violation'],
    ['an error of 30001 bytes', [Buffer.from([0x45, 0, 0, 0x75, 0x31])], 'protocol_violation'],
    ['an empty authentication', [message('R')], 'protocol_violation'],
    ['ready at once', [READY], 'protocol_violation'],
    ['a notice before anything', [message('N', 'SNOTICE\0\0')], 'protocol_violation'],
    ['a row before the login', [message('D', '\0\0')], 'protocol_violation'],
    ['an unknown method', [message('R', 99)], 'method_not_supported'],
    ['GSSAPI', [message('R', 7)], 'method_not_supported'],
    ['SASL with no mechanism', [message('R', 10, '\0')], 'method_not_supported'],
    [
      'SASL with mechanisms of others',
      [message('R', 10, 'SCRAM-SHA-1\0\0')],
      'method_not_supported',
    ],
    ['OAUTHBEARER alone', [message('R', 10, 'OAUTHBEARER\0\0')], 'no_credential'],
    [
      'channel binding without TLS',
      [message('R', 10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')],
      'channel_binding',
    ],
    ['MD5 with a short salt', [message('R', 5, 'abc')], 'protocol_violation'],
    ['SASL out of order', [message('R', 11, 'r=x')], 'method_not_supported'],
    ['a row after the login', [AUTHENTICATION_OK, message('D', '\0\0')], 'protocol_violation'],
    [
      'ready with a length that does not count itself',
      [AUTHENTICATION_OK, Buffer.from([0x5a, 0, 0, 0, 1])],
      'protocol_violation',
    ],
    ['ready with too much', [AUTHENTICATION_OK, message('Z', 'IT')], 'protocol_violation'],
    ['OK twice', [AUTHENTICATION_OK, AUTHENTICATION_OK], 'protocol_violation'],
    ['a cancel key of 3 bytes', [AUTHENTICATION_OK, message('K', 1, 'abc')], 'protocol_violation'],
    [
      'a cancel key of 257 bytes',
      [AUTHENTICATION_OK, message('K', 1, 'x'.repeat(257))],
      'protocol_violation',
    ],
    [
      'a long parameter',
      [AUTHENTICATION_OK, Buffer.from([0x53, 0, 0x10, 0, 0])],
      'protocol_violation',
    ],
    [
      'parameters without end',
      [
        AUTHENTICATION_OK,
        ...Array.from({ length: 60 }, () => message('S', 'a\0', 'x'.repeat(20_000), '\0')),
      ],
      'protocol_violation',
    ],
    ['a version of the future', [message('v', 0x30003, 0)], 'protocol_violation'],
    ['another major version', [message('v', 0x20000, 0)], 'protocol_violation'],
    ['half a version', [message('v', 'abc')], 'protocol_violation'],
    ['two versions', [message('v', 0x30000, 0), message('v', 0x30000, 0)], 'protocol_violation'],
  ])('%s', async (_what, parts, expected) => {
    expect(await reason(says(...parts))).toBe(expected)
  })

  test('a cleartext request is answered with what pg-protocol would send', async () => {
    let answer: Buffer | undefined
    const result = await outcome(async (peer) => {
      await peer.readStartup()
      peer.write(message('R', 3))
      answer = await peer.readMessage()
      peer.write(AUTHENTICATION_OK, READY)
    })
    expect(result).toBe('logged in')
    expect(answer).toEqual(serialize.password('pencil'))
  })

  test('a second request for the password is not answered', async () => {
    expect(
      await reason(async (peer) => {
        await peer.readStartup()
        peer.write(message('R', 3))
        await peer.readMessage()
        peer.write(message('R', 3))
      }),
    ).toBe('protocol_violation')
  })

  test('an older version is accepted', async () => {
    await using server = await scriptedServer(
      says(message('v', 0x30000, 0), AUTHENTICATION_OK, READY),
    )
    const settings = upstreamSettings({ port: server.port })
    const connection = await connect(settings, startup('alice', {}, 0x30002))
    expect(connection.version).toBe(0x30000)
    expect(connection.greeting).toEqual(READY)
    expect(connection.cancelKey).toBeUndefined()
    connection.socket.destroy()
  })

  test('cancel keys of 4 and of 256 bytes are accepted', async () => {
    for (const length of [4, 256]) {
      const K = message('K', 7, 'k'.repeat(length))
      expect(await outcome(says(AUTHENTICATION_OK, K, READY))).toBe('logged in')
    }
  })

  test('what comes behind ReadyForQuery stays in the source', async () => {
    await using server = await scriptedServer(says(AUTHENTICATION_OK, READY, 'behind'))
    const connection = await connect(upstreamSettings({ port: server.port }), startup('alice'))
    expect((await connection.source.readExactly(6))?.toString()).toBe('behind')
    connection.socket.destroy()
  })

  test('a greeting that arrives byte by byte is the same', async () => {
    const greeting = Buffer.concat([message('S', 'a\0b\0'), message('K', 1, 'abcd'), READY])
    await using server = await scriptedServer(async (peer) => {
      await peer.readStartup()
      for (const byte of Buffer.concat([AUTHENTICATION_OK, greeting])) {
        await new Promise((resolve) => peer.socket.write(Buffer.of(byte), resolve))
      }
    })
    const connection = await connect(upstreamSettings({ port: server.port }), startup('alice'))
    expect(connection.greeting).toEqual(greeting)
    expect(messageTypes(connection.greeting)).toBe('SKZ')
    connection.socket.destroy()
  })
})

describe('an error', () => {
  test('shows no password, whatever went wrong', async () => {
    const scripts = [
      says(message('R', 9)),
      says(SASL_OFFER, AUTHENTICATION_OK),
      says(message('E', 'SFATAL\0C28P01\0Mno\0\0')),
      scramServer({ change: { final: () => 'v=' } }),
    ]
    for (const script of scripts) {
      const error = await outcome(script)
      expect(error).toBeInstanceOf(ReportError)
      expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(SECRET.password)
    }
  })
})

describe('a server that does not prove itself', () => {
  test('is told apart from one that does', async () => {
    expect(await outcome(scramServer({}))).toBe('logged in')
  })

  test.each<[string, ScramScript]>([
    [
      'with a wrong signature',
      { change: { final: () => `v=${Buffer.alloc(32).toString('base64')}` } },
    ],
    ['with no signature', { change: { final: () => '' } }],
    ['with an error', { change: { final: () => 'e=other-error' } }],
    ['with OK instead of a signature', { skipFinal: true }],
    ['with a nonce of its own', { change: { first: (text) => text.replace('r=', 'r=x') } }],
    [
      'with a million million iterations',
      { change: { first: (text) => text.replace('i=4096', 'i=999999999999') } },
    ],
  ])('%s', async (_what, script) => {
    expect(await reason(scramServer(script))).toBe('server_not_authenticated')
  })

  test('with OK instead of a challenge', async () => {
    expect(await reason(says(SASL_OFFER, AUTHENTICATION_OK, READY))).toBe(
      'server_not_authenticated',
    )
  })

  test('with its signature instead of a challenge', async () => {
    const final = message('R', 12, `v=${Buffer.alloc(32).toString('base64')}`)
    expect(await reason(says(SASL_OFFER, final, AUTHENTICATION_OK, READY))).toBe(
      'protocol_violation',
    )
  })

  test('with something else after its signature', async () => {
    const script = scramServer({})
    expect(
      await reason(async (peer, connection) => {
        const write = peer.write.bind(peer)
        peer.write = (...parts) =>
          write(...parts.map((part) => (part === AUTHENTICATION_OK ? SASL_OFFER : part)))
        await script(peer, connection)
      }),
    ).toBe('protocol_violation')
  })
})

describe('the messages of a SCRAM exchange', () => {
  test('are framed as pg-protocol frames them', async () => {
    const sent: Buffer[] = []
    const script = scramServer({})
    const result = await outcome(async (peer, connection) => {
      const readMessage = peer.readMessage.bind(peer)
      peer.readMessage = async () => {
        const next = await readMessage()
        sent.push(next)
        return next
      }
      await script(peer, connection)
    })
    expect(result).toBe('logged in')
    const [initial, final] = sent
    const clientFirst = initial!.toString('latin1', 5 + 14 + 4)
    expect(initial).toEqual(serialize.sendSASLInitialResponseMessage('SCRAM-SHA-256', clientFirst))
    expect(final).toEqual(serialize.sendSCRAMClientFinalMessage(final!.toString('latin1', 5)))
  })
})

describe('an answer to SSLRequest', () => {
  const answers = (...parts: readonly string[]): Script => says(...parts)

  test.each([
    ['of N', 'N', 'tls_refused'],
    ['of an error', 'EFATAL:  unsupported frontend protocol\n\0', 'tls_failed'],
    ['of G', 'G', 'protocol_violation'],
    ['in HTTP', 'HTTP/1.1 400', 'protocol_violation'],
    ['with something in the clear behind S', 'SR\0\0\0\x08\0\0\0\0', 'protocol_violation'],
    ['of nothing', '', 'closed'],
    ['of S and nothing more', 'S', 'tls_failed'],
  ])('%s ends it under require', async (_what, answer, expected) => {
    expect(await reason(answers(answer), { sslmode: 'require' })).toBe(expected)
  })

  test('that is followed by plain text instead of a handshake ends it', async () => {
    const script: Script = async (peer) => {
      await peer.readStartup()
      peer.write('S')
      await peer.read(5)
      peer.write(AUTHENTICATION_OK, READY)
    }
    expect(await reason(script, { sslmode: 'require' })).toBe('tls_failed')
  })

  test.each([
    ['junk', 'X'],
    ['something in the clear behind S', 'SR\0\0\0\x08\0\0\0\0'],
  ])('of %s does not make prefer go on without TLS', async (_what, answer) => {
    let connections = 0
    const script: Script = async (peer, connection) => {
      connections = connection
      await peer.readStartup()
      peer.write(answer)
    }
    expect(await reason(script, { sslmode: 'prefer' })).toBe('protocol_violation')
    expect(connections).toBe(1)
  })

  test('of an error makes prefer go on without TLS, on another connection', async () => {
    const script: Script = async (peer, connection) => {
      await peer.readStartup()
      peer.write(...(connection === 1 ? ['EFATAL:  no\n\0'] : [AUTHENTICATION_OK, READY]))
    }
    expect(await outcome(script, { sslmode: 'prefer' })).toBe('logged in')
  })

  test('of N makes prefer go on without TLS, on the same connection', async () => {
    const script: Script = async (peer, connection) => {
      await peer.readStartup()
      peer.write('N')
      await peer.readStartup()
      peer.write(...(connection === 1 ? [AUTHENTICATION_OK, READY] : ['E']))
    }
    expect(await outcome(script, { sslmode: 'prefer' })).toBe('logged in')
  })

  test('of S brings a handshake that offers the protocol by its ALPN name', async () => {
    const pair = await (await createCertificateAuthority()).issue()
    let protocol: string | false | null = null
    const script: Script = async (peer) => {
      await peer.readStartup()
      peer.write('S')
      const secure = new tls.TLSSocket(peer.release(), {
        isServer: true,
        ...pair,
        ALPNProtocols: ['postgresql'],
      })
      secure.on('error', () => {})
      await new Promise((resolve) => secure.once('data', resolve))
      protocol = secure.alpnProtocol
      secure.end(Buffer.concat([AUTHENTICATION_OK, READY]))
    }
    expect(await outcome(script, { sslmode: 'require' })).toBe('logged in')
    expect(protocol).toBe('postgresql')
  })
})

/** What a server says in a login with SCRAM, step by step; silence or a close can come after each. */
const STEPS: readonly Script[] = [
  () => {},
  async (peer) => void (await peer.readStartup()),
  says(SASL_OFFER.subarray(0, 3)),
  says(SASL_OFFER),
  async (peer) => {
    await says(SASL_OFFER)(peer, 1)
    await peer.readMessage()
  },
  says(AUTHENTICATION_OK),
  says(AUTHENTICATION_OK, message('S', 'a\0b\0'), READY.subarray(0, 5)),
  says(message('E', 'SFATAL\0').subarray(0, 8)),
]

describe.each(STEPS.map((step, index) => [index, step] as const))(
  'after step %i',
  (_index, step) => {
    test('a close ends the login', async () => {
      expect(await reason(step)).toBe('closed')
    })

    test('a reset ends the login', async () => {
      const script: Script = async (peer, connection) => {
        await step(peer, connection)
        peer.socket.resetAndDestroy()
      }
      expect(await reason(script)).toMatch(/^(closed|connect_failed)$/)
    })

    test('the signal ends a silence, with its own reason, and closes the socket', async () => {
      const controller = new AbortController()
      const mine = new Error('the client has gone')
      const script: Script = async (peer, connection) => {
        await step(peer, connection)
        setImmediate(() => controller.abort(mine))
        await peer.untilGone()
      }
      expect(await outcome(script, {}, controller.signal)).toBe(mine)
    })

    test('connect_timeout ends a silence', async () => {
      const script: Script = async (peer, connection) => {
        await step(peer, connection)
        await peer.untilGone()
      }
      expect(await reason(script, { connectTimeoutMs: 50 })).toBe('connect_timeout')
    })
  },
)

describe('a TLS handshake', () => {
  const silent: Script = async (peer) => {
    await peer.readStartup()
    peer.write('S')
    await peer.untilGone()
  }

  test('that never ends is ended by connect_timeout, also under prefer', async () => {
    for (const sslmode of ['prefer', 'require'] as const) {
      expect(await reason(silent, { sslmode, connectTimeoutMs: 50 })).toBe('connect_timeout')
    }
  })

  test('that never ends is ended by the signal', async () => {
    const controller = new AbortController()
    const script: Script = async (peer, connection) => {
      setImmediate(() => controller.abort(new Error('gone')))
      await silent(peer, connection)
    }
    expect(await outcome(script, { sslmode: 'require' }, controller.signal)).toMatchObject({
      message: 'gone',
    })
  })
})

describe('a login that must not begin', () => {
  test('throws the reason of a signal that has aborted, and connects nowhere', async () => {
    await using server = await scriptedServer(() => {})
    const settings = upstreamSettings({ port: server.port })
    const aborted = AbortSignal.abort(new Error('too late'))
    await expect(connect(settings, startup('alice'), SECRET, aborted)).rejects.toThrow('too late')
    expect(server.accepted()).toBe(0)
  })

  test('says where it could not connect to the log alone', async () => {
    const { port } = await closedPort()
    const error: unknown = await connect(upstreamSettings({ port }), startup('alice')).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({ reason: 'connect_failed', sqlState: '08006' })
    expect((error as UpstreamError).message).toBe('could not connect to the database server')
    expect((error as UpstreamError).logDetail).toContain(`127.0.0.1:${port} failed: `)
    expect((error as UpstreamError).logDetail).toContain('ECONNREFUSED')
  })

  test.each(['/nonexistent', `/${'x'.repeat(200)}`])(
    'says so for a Unix socket that cannot be there: %s',
    async (host) => {
      await expect(connect(upstreamSettings({ host }), startup('alice'))).rejects.toMatchObject({
        reason: 'connect_failed',
      })
    },
  )
})

describe('a cancel request', () => {
  const key = { processId: 7, key: Buffer.from('abcd') }
  const signal = new AbortController().signal

  async function send(server: ScriptedServer, change: Partial<UpstreamSettings> = {}) {
    await sendCancelRequest(upstreamSettings({ port: server.port, ...change }), key, { signal })
  }

  test('is what pg-protocol sends, and is over when the server closes', async () => {
    let packet: Buffer | undefined
    await using server = await scriptedServer(async (peer) => {
      packet = await peer.read(16)
    })
    await send(server)
    expect(packet).toEqual(serialize.cancel(7, key.key.readInt32BE(0)))
    await server.untilIdle()
  })

  test('to a server that answers without end fails', async () => {
    await using server = await scriptedServer(async (peer) => {
      await peer.read(16)
      peer.write('x'.repeat(100_000))
      await peer.untilGone()
    })
    await expect(send(server)).rejects.toMatchObject({ reason: 'protocol_violation' })
    await server.untilIdle()
  })

  test('to a server that keeps silent ends with connect_timeout', async () => {
    await using server = await scriptedServer((peer) => peer.untilGone())
    const sent = send(server, { connectTimeoutMs: 50 })
    await expect(sent).rejects.toMatchObject({ reason: 'connect_timeout' })
    await server.untilIdle()
  })

  test('is not sent in the clear where TLS is required', async () => {
    let more: Buffer | undefined
    await using server = await scriptedServer(async (peer) => {
      await peer.readStartup()
      peer.write('N')
      more = await peer.read(1).catch(() => undefined)
    })
    await expect(send(server, { sslmode: 'require' })).rejects.toMatchObject({
      reason: 'tls_refused',
    })
    await server.untilIdle()
    expect(more).toBeUndefined()
  })

  test.each(['allow', 'prefer'] as const)('asks for TLS first under %s', async (sslmode) => {
    let code: number | undefined
    await using server = await scriptedServer(async (peer) => {
      code = (await peer.readStartup()).readInt32BE(0)
      peer.write('N')
      await peer.read(16)
    })
    await send(server, { sslmode })
    expect(code).toBe(80877103)
  })
})

async function closedPort(): Promise<{ port: number }> {
  const server = await scriptedServer(() => {})
  await server[Symbol.asyncDispose]()
  return { port: server.port }
}
