import type net from 'node:net'
import tls from 'node:tls'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  type ConnectOAuthOptions,
  InsecureTransportError,
  OAuthConnectionError,
  OAuthProtocolError,
  TokenConfigError,
  connectOAuth,
  credential,
} from '../../../src/client/index.ts'
import {
  type CertificateAuthority,
  createCertificateAuthority,
} from '../../../src/demo/certificates.ts'
import { type ScriptedServer, honest, scriptedServer } from '../support/scripted-server.ts'

let authority: CertificateAuthority
beforeAll(async () => {
  authority = await createCertificateAuthority()
})

interface Attempt {
  readonly calls: number
  readonly error: unknown
  readonly socket: net.Socket | undefined
}

/** One login; the callback's calls are counted. */
async function attempt(
  server: Pick<ScriptedServer, 'host' | 'port'>,
  options: Partial<ConnectOAuthOptions>,
): Promise<Attempt> {
  let calls = 0
  const token = (): { accessToken: string } => {
    calls += 1
    return credential('t')
  }
  try {
    const { host, port } = server
    const { socket } = await connectOAuth({ host, port, user: 'ann', token, ...options })
    socket.destroy()
    return { calls, error: undefined, socket }
  } catch (error) {
    return { calls, error, socket: undefined }
  }
}

const always = honest(() => true)

describe('the transport', () => {
  it('H1: is never plain without a word of the user', async () => {
    await using server = await scriptedServer(always)
    const { calls, error } = await attempt(server, { tls: false })
    expect(error).toBeInstanceOf(InsecureTransportError)
    expect(calls).toBe(0)
    expect(server.accepted).toBe(0)
  })

  it('H2: is not downgraded by a server without TLS', async () => {
    await using server = await scriptedServer(always, { sslAnswer: 'N' })
    const { calls, error } = await attempt(server, { tls: { ca: authority.cert } })
    expect(error).toBeInstanceOf(InsecureTransportError)
    expect((error as Error).message).toContain('the server does not support SSL')
    expect(calls).toBe(0)
    expect(server.peers).toHaveLength(0)
  })

  it('H2: is not downgraded where plain connections to this machine are allowed', async () => {
    await using server = await scriptedServer(always, { sslAnswer: 'N' })
    const { error } = await attempt(server, {
      tls: { ca: authority.cert },
      insecure: 'loopback-only',
      allowInsecureTransport: true,
    })
    expect(error).toBeInstanceOf(InsecureTransportError)
  })

  it('H2: an error instead of an answer to the SSLRequest is no answer', async () => {
    for (const sslAnswer of ['E', 'X', 'H']) {
      await using server = await scriptedServer(always, { sslAnswer })
      const { error } = await attempt(server, { tls: { ca: authority.cert } })
      expect(error).toBeInstanceOf(OAuthProtocolError)
    }
  })

  it('H3: is refused with a certificate that nobody vouches for', async () => {
    await using server = await scriptedServer(always, { tls: await authority.issue() })
    const { calls, error } = await attempt(server, {})
    expect(error).toBeInstanceOf(InsecureTransportError)
    expect(calls).toBe(0)
    expect(server.peers).toHaveLength(0)
  })

  it('H3: is refused with a certificate for another host', async () => {
    const certificate = await authority.issue({ names: ['other.example'] })
    await using server = await scriptedServer(always, { tls: certificate })
    const options = { tls: { ca: authority.cert } }
    for (const host of ['127.0.0.1', 'localhost']) {
      const { calls, error } = await attempt({ host, port: server.port }, options)
      expect(error).toBeInstanceOf(InsecureTransportError)
      expect(calls).toBe(0)
    }
    expect(server.peers).toHaveLength(0)
  })

  it('H3: is refused with a certificate that has expired', async () => {
    const certificate = await authority.issue({
      notBefore: new Date('2020-01-01'),
      notAfter: new Date('2020-01-02'),
    })
    await using server = await scriptedServer(always, { tls: certificate })
    const { calls, error } = await attempt(server, { tls: { ca: authority.cert } })
    expect(error).toBeInstanceOf(InsecureTransportError)
    expect((error as Error).message).toContain('expired')
    expect(calls).toBe(0)
  })

  it('H4: is verified by address where the host is one', async () => {
    const byAddress = await authority.issue({ names: ['127.0.0.1'] })
    await using good = await scriptedServer(always, { tls: byAddress })
    expect((await attempt(good, { tls: { ca: authority.cert } })).error).toBeUndefined()
    const byName = await authority.issue({ names: ['localhost'] })
    await using bad = await scriptedServer(always, { tls: byName })
    expect((await attempt(bad, { tls: { ca: authority.cert } })).error).toBeInstanceOf(
      InsecureTransportError,
    )
    const named = { tls: { ca: authority.cert, servername: 'localhost' } }
    expect((await attempt(bad, named)).error).toBeUndefined()
  })

  it('H4: is verified by name where the host is one', async () => {
    await using server = await scriptedServer(always, {
      tls: await authority.issue({ names: ['localhost'] }),
    })
    const { calls, error, socket } = await attempt(
      { host: 'localhost', port: server.port },
      { tls: { ca: authority.cert } },
    )
    expect(error).toBeUndefined()
    expect(calls).toBe(1)
    expect(socket).toBeInstanceOf(tls.TLSSocket)
  })

  it('H5: is not left unverified by an option that looks harmless', async () => {
    await using server = await scriptedServer(always, { tls: await authority.issue() })
    const { calls, error } = await attempt(server, { tls: { rejectUnauthorized: false } })
    expect(error).toBeInstanceOf(InsecureTransportError)
    expect(calls).toBe(0)
    expect(server.accepted).toBe(0)
  })

  it('H5: does not listen to NODE_TLS_REJECT_UNAUTHORIZED', async () => {
    await using server = await scriptedServer(always, { tls: await authority.issue() })
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const { calls, error } = await attempt(server, {})
      expect(error).toBeInstanceOf(InsecureTransportError)
      expect(calls).toBe(0)
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
  })

  it('H6: may be a Unix socket', async () => {
    await using server = await scriptedServer(always, { unix: true })
    const { calls, error } = await attempt(server, {})
    expect(error).toBeUndefined()
    expect(calls).toBe(1)
  })

  it('H7: may be plain to this machine where the user says so', async () => {
    await using server = await scriptedServer(always)
    const { error } = await attempt(server, { tls: false, insecure: 'loopback-only' })
    expect(error).toBeUndefined()
    await using other = await scriptedServer(always, { host: '127.0.0.77' })
    expect((await attempt(other, { tls: false, insecure: 'loopback-only' })).error).toBeUndefined()
  })

  it('H7: is refused by the address it reached, whatever the host is called', async () => {
    const address = Object.values((await import('node:os')).networkInterfaces())
      .flat()
      .find((one) => one !== undefined && !one.internal && one.family === 'IPv4')?.address
    // A machine without a network has no other address to be refused by; the rule is then the same.
    const host = address ?? '127.0.0.1'
    await using server = await scriptedServer(always, { host })
    const { calls, error } = await attempt(server, { tls: false, insecure: 'loopback-only' })
    expect({ refused: error instanceof InsecureTransportError, calls }).toEqual(
      address === undefined ? { refused: false, calls: 1 } : { refused: true, calls: 0 },
    )
    expect(server.peers).toHaveLength(address === undefined ? 1 : 0)
  })

  it('H8: may be insecure where the user says so, and the log says it once per server', async () => {
    await using plain = await scriptedServer(always)
    const lines: unknown[] = []
    const log = {
      debug() {},
      warning: (text: string, fields?: object) => lines.push([text, fields]),
    }
    const options = { tls: false, allowInsecureTransport: true, log } as const
    expect((await attempt(plain, options)).error).toBeUndefined()
    expect(lines).toEqual([
      [
        'tokens are sent over a connection that is not secured',
        { server: `127.0.0.1 port ${plain.port}` },
      ],
    ])
    await using unverified = await scriptedServer(always, { tls: await authority.issue() })
    const loose = { tls: { rejectUnauthorized: false }, allowInsecureTransport: true, log }
    expect((await attempt(unverified, loose)).error).toBeUndefined()
    expect(lines).toHaveLength(2)
  })

  it('H9: is refused when unencrypted bytes follow the answer to the SSLRequest', async () => {
    await using server = await scriptedServer(always, { sslAnswer: 'SR\0\0\0\x08\0\0\0\0' })
    const { calls, error } = await attempt(server, { tls: { ca: authority.cert } })
    expect(error).toBeInstanceOf(OAuthProtocolError)
    expect((error as Error).message).toBe('received unencrypted data after SSL response')
    expect(calls).toBe(0)
  })

  it('H10: may begin with TLS, which the server must confirm with ALPN', async () => {
    const certificate = await authority.issue()
    const direct = { tls: { ca: authority.cert }, sslnegotiation: 'direct' } as const
    await using good = await scriptedServer(always, { tls: certificate, direct: true })
    expect((await attempt(good, direct)).error).toBeUndefined()
    const silent = { ...certificate, ALPNProtocols: [] }
    await using bad = await scriptedServer(always, { tls: silent, direct: true })
    const { calls, error } = await attempt(bad, direct)
    expect((error as Error).message).toContain('without ALPN')
    expect(calls).toBe(0)
    const { error: contradiction } = await attempt(good, { ...direct, tls: false })
    expect(contradiction).toBeInstanceOf(TokenConfigError)
  })

  it('H3: a handshake that breaks off is an error, not a wait', async () => {
    await using server = await scriptedServer(always, {
      raw: (socket) => {
        socket.once('data', () => {
          socket.write('S')
          socket.once('data', () => socket.end())
        })
      },
    })
    const { error } = await attempt(server, { tls: { ca: authority.cert } })
    expect(error).toBeInstanceOf(OAuthConnectionError)
    expect(error).toMatchObject({ step: 'tls' })
  })

  it('presents a client certificate where there is one', async () => {
    const own = await authority.issue({ commonName: 'ann', usage: 'client' })
    const names: unknown[] = []
    await using server = await scriptedServer(
      async (peer, index) => {
        names.push((peer.socket as tls.TLSSocket).getPeerCertificate().subject?.CN)
        await always(peer, index)
      },
      { tls: { ...(await authority.issue()), requestCert: true, ca: authority.cert } },
    )
    expect((await attempt(server, { tls: { ca: authority.cert, ...own } })).error).toBeUndefined()
    expect(names).toEqual(['ann'])
  })
})
