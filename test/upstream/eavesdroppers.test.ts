import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { authenticate } from '../../src/upstream/authenticate.ts'
import type { UpstreamCredential } from '../../src/upstream/credential.ts'
import { LoginReader } from '../../src/upstream/login-reader.ts'
import type { UpstreamSettings } from '../../src/upstream/settings.ts'
import { isLoopback, openPlain } from '../../src/upstream/transport.ts'
import {
  AUTHENTICATION_OK,
  message,
  type ScriptedPeer,
  scriptedServer,
  upstreamSettings,
} from './support.ts'

/** Logs in over TCP as if to another machine; the tests themselves stay on this one. */
async function logInAbroad(
  script: (peer: ScriptedPeer) => Promise<void>,
  change: Partial<UpstreamSettings> = {},
  credential: UpstreamCredential = { password: 'secret' },
): Promise<string> {
  await using server = await scriptedServer(script)
  const settings = upstreamSettings({ port: server.port, ...change })
  const { signal } = new AbortController()
  const transport = { ...(await openPlain(settings, signal)), isPrivate: false }
  const reader = new LoginReader(transport)
  const user = fromText('alice')
  const attempt = { settings, transport, reader, user, credential, signal }
  try {
    return await authenticate(attempt, await reader.next())
  } finally {
    transport.socket.destroy()
    await server.untilIdle()
  }
}

describe('where somebody could listen', () => {
  test.each([
    ['a cleartext password', message('R', 3)],
    ['an MD5 password', message('R', 5, 'salt')],
  ])('%s is not sent', async (_what, request) => {
    let sent: Buffer | undefined
    const login = logInAbroad(async (peer) => {
      peer.write(request)
      sent = await peer.read(1).catch(() => undefined)
    })
    await expect(login).rejects.toMatchObject({
      reason: 'method_not_allowed',
      logDetail: expect.stringContaining('role "alice"') as string,
    })
    expect(sent).toBeUndefined()
  })

  test.each([
    ['password', message('R', 3)],
    ['md5', message('R', 5, 'salt')],
  ] as const)('%s is sent where require_auth names it', async (method, request) => {
    const login = logInAbroad(
      async (peer) => {
        peer.write(request)
        await peer.readMessage()
        peer.write(AUTHENTICATION_OK)
      },
      { requireAuth: [method] },
    )
    expect(await login).toBe(method)
  })

  const offersFewIterations = async (peer: ScriptedPeer): Promise<void> => {
    peer.write(message('R', 10, 'SCRAM-SHA-256\0', '\0'))
    const initial = (await peer.readMessage()).toString('latin1')
    const nonce = initial.slice(initial.indexOf('r=') + 2)
    peer.write(message('R', 11, `r=${nonce}x,s=c2FsdA==,i=1`))
    await peer.readMessage()
    peer.write(message('E', 'SFATAL\0C28P01\0Mthe proof was sent\0\0'))
  }

  test('no proof is made of a password with few iterations', async () => {
    await expect(logInAbroad(offersFewIterations)).rejects.toMatchObject({
      reason: 'server_not_authenticated',
      logDetail: 'SCRAM iteration count 1 is out of bounds',
    })
  })

  test('a proof is made of SCRAM keys, whatever the iterations', async () => {
    const keys = { scramClientKey: Buffer.alloc(32, 1), scramServerKey: Buffer.alloc(32, 2) }
    await expect(logInAbroad(offersFewIterations, {}, keys)).rejects.toThrow('the proof was sent')
  })

  test('is everywhere but this machine', () => {
    const home = ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1']
    const abroad = ['10.0.0.5', '192.168.0.1', '::2', 'fe80::1', '::ffff:10.0.0.5', 'localhost', '']
    expect(home.filter((address) => !isLoopback(address))).toEqual([])
    expect(abroad.filter((address) => isLoopback(address))).toEqual([])
    expect(isLoopback(undefined)).toBe(false)
  })
})
