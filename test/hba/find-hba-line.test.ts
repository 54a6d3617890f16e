import { describe, expect, test } from 'vitest'

import type { ByteString } from '../../src/byte-string.ts'
import { findHbaLine } from '../../src/hba/find-hba-line.ts'
import type { HbaConnection } from '../../src/hba/hba-line.ts'
import { type HostNameResolver, systemResolver } from '../../src/hba/host-names.ts'
import { matchHbaLine } from '../../src/hba/match-hba-line.ts'
import { hbaLines } from './hba-text.ts'

const client: HbaConnection = {
  local: false,
  address: '192.0.2.7',
  tls: true,
  user: 'ann' as ByteString,
  database: 'app' as ByteString,
  physicalReplication: false,
}

interface Names {
  readonly resolver: HostNameResolver
  readonly asked: string[]
}

const failure = (code: string): Error => Object.assign(new Error(code), { code })

function names(reverse: string | Error, forward: readonly string[] | Error = []): Names {
  const asked: string[] = []
  const answer = async <T>(question: string, value: T | Error): Promise<T> => {
    asked.push(question)
    if (value instanceof Error) {
      throw value
    }
    return await Promise.resolve(value)
  }
  return {
    asked,
    resolver: {
      reverse: (address) => answer(address, reverse),
      forward: (name) => answer(name, forward),
    },
  }
}

const own = ['203.0.113.1', '192.0.2.7']

describe('a rule with a host name', () => {
  test.each([
    ['db.example.com', 'db.example.com'],
    ['DB.Example.COM', 'db.example.com'],
    ['.example.com', 'db.example.com'],
    ['.EXAMPLE.com', 'db.Example.com'],
    ['.com', 'db.example.com'],
    ['"all"', 'all'],
  ])('%s matches the client %s', async (pattern, name) => {
    const lines = hbaLines(`host all all ${pattern} trust`)
    const { resolver } = names(name, own)
    expect((await findHbaLine(lines, client, { resolver })).line).toBe(lines[0])
  })

  test.each([
    ['example.com', 'db.example.com', own],
    ['.example.com', 'example.com', own],
    ['.db.example.com', 'db.example.com', own],
    ['db.example', 'db.example.com', own],
    ['db.example.com', 'db.example.com', ['203.0.113.1']],
    ['db.example.com', 'db.example.com', ['::ffff:192.0.2.7']],
    ['db.example.com', 'db.example.com', []],
    ['.', 'db.example.com', own],
    ['\u212a', 'k', own],
  ])('%s does not match the client %s with the addresses %j', async (pattern, name, addresses) => {
    const lines = hbaLines(`host all all ${pattern} trust`)
    const { resolver } = names(name, addresses)
    expect((await findHbaLine(lines, client, { resolver })).line).toBeUndefined()
  })

  test('asks once for a connection, and for the address only when the name fits', async () => {
    const lines = hbaLines(
      ['a.example', 'db.example.com', '.example.com']
        .map((it) => `host x all ${it} trust`)
        .join('\n'),
    )
    const { resolver, asked } = names('db.example.com', own)
    await findHbaLine(lines, client, { resolver })
    expect(asked).toEqual(['192.0.2.7', 'db.example.com'])
  })

  test('is passed over without a question where socket or TLS do not fit', async () => {
    const lines = hbaLines(
      'hostnossl all all h trust\nhostgssenc all all h trust\nhost all all all reject',
    )
    const { resolver, asked } = names('h', own)
    const { line, hostNameDetail } = await findHbaLine(lines, client, { resolver })
    expect([line?.line, hostNameDetail, asked]).toEqual([3, undefined, []])
    const local = { ...client, local: true, address: undefined }
    expect(await findHbaLine(hbaLines('host all all h trust'), local, { resolver })).toEqual({})
    expect(asked).toEqual([])
  })

  test('no longer matches after a look-up has failed', async () => {
    const lines = hbaLines('host x all h trust\nhost all all h trust')
    const { resolver, asked } = names('h', failure('ENOTFOUND'))
    expect((await findHbaLine(lines, client, { resolver })).line).toBeUndefined()
    expect(asked).toEqual(['192.0.2.7', 'h'])
  })

  test('cannot be decided without looking names up', () => {
    const lines = hbaLines('host all all h reject\nhost all all all trust')
    expect(() => matchHbaLine(lines, client)).toThrow(TypeError)
  })
})

describe('the log says of the host name', () => {
  test.each([
    [
      'host all all x trust',
      names('h', own),
      'Client IP address resolved to "h", forward lookup not checked.',
    ],
    [
      'host x all h trust',
      names('h', own),
      'Client IP address resolved to "h", forward lookup matches.',
    ],
    [
      'host all all h trust',
      names('h', []),
      'Client IP address resolved to "h", forward lookup does not match.',
    ],
    [
      'host all all h trust',
      names('h', failure('ENOTFOUND')),
      'Could not translate client host name "h" to IP address: Name or service not known.',
    ],
    [
      'host all all h trust',
      names(failure('EAI_AGAIN')),
      'Could not resolve client IP address to a host name: Temporary failure in name resolution.',
    ],
    [
      'host all all h trust',
      names(failure('ESOMETHING')),
      'Could not resolve client IP address to a host name: ESOMETHING.',
    ],
    ['host all x all trust', names('h', own), undefined],
  ])('%s', async (rule, { resolver }, detail) => {
    const found = await findHbaLine(hbaLines(rule), client, { resolver })
    expect([found.line, found.hostNameDetail]).toEqual([undefined, detail])
  })
})

describe('the wait for a resolver', () => {
  const silent: HostNameResolver = {
    reverse: (_, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
      }),
    forward: () => Promise.resolve([]),
  }

  test('ends with the signal, not with a rule', async () => {
    const controller = new AbortController()
    const lines = hbaLines('host all all h reject\nhost all all all trust')
    const found = findHbaLine(lines, client, { resolver: silent, signal: controller.signal })
    controller.abort(new Error('too late'))
    await expect(found).rejects.toThrow('too late')
  })

  test('does not begin after the signal', async () => {
    const signal = AbortSignal.abort(new Error('gone'))
    await expect(systemResolver.reverse('127.0.0.1', signal)).rejects.toThrow('gone')
    await expect(systemResolver.forward('localhost', signal)).rejects.toThrow('gone')
  })
})

test('the system knows the addresses of localhost', async () => {
  const { signal } = new AbortController()
  const found = await systemResolver.forward('localhost', signal)
  expect(found.some((address) => address === '127.0.0.1' || address === '::1')).toBe(true)
})
