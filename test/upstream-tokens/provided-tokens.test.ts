import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { credential, TokenCallback, type TokenRequest } from '../../src/client/index.ts'
import { silentLog } from '../../src/log.ts'
import { ProvidedTokens } from '../../src/upstream-tokens/provided-tokens.ts'

function counted(answer: (request: TokenRequest, call: number) => Promise<string>) {
  const calls: (string | undefined)[] = []
  const source = new TokenCallback(async (request) => {
    calls.push(request.username)
    return credential(await answer(request, calls.length), { expiresInMs: 600_000 })
  })
  return { calls, source }
}

function tokenFor(tokens: ProvidedTokens, role: string) {
  const user = fromText(role)
  const { signal } = new AbortController()
  const { bearer, end } = tokens.lease({ role: user, clientToken: undefined })
  return { bearer, end, get: () => bearer.bearerToken({ user, signal }) }
}

describe('tokens from a source', () => {
  test('are kept for each role, and none serves another', async () => {
    const { calls, source } = counted(async ({ username }) => `token-of-${username}`)
    await using tokens = new ProvidedTokens(source, silentLog)
    for (const role of ['ann', 'bob', 'ann', 'bob']) {
      const { get, end } = tokenFor(tokens, role)
      expect(await get()).toBe(`token-of-${role}`)
      await end()
    }
    expect(calls).toEqual(['ann', 'bob'])
  })

  test('of a hundred logins at once cost one call', async () => {
    const { calls, source } = counted(async () => 'token')
    await using tokens = new ProvidedTokens(source, silentLog)
    await Promise.all(Array.from({ length: 100 }, () => tokenFor(tokens, 'ann').get()))
    expect(calls).toHaveLength(1)
  })

  test('do not make one role wait for another', async () => {
    let release = (): void => {}
    const { source } = counted(async ({ username }) => {
      if (username === 'slow') {
        await new Promise<void>((resolve) => {
          release = resolve
        })
      }
      return 'token'
    })
    await using tokens = new ProvidedTokens(source, silentLog)
    const slow = tokenFor(tokens, 'slow').get()
    expect(await tokenFor(tokens, 'quick').get()).toBe('token')
    release()
    expect(await slow).toBe('token')
  })

  test('are forgotten when a server refuses one, and only an old one is worth another try', async () => {
    const { source } = counted(async (_request, call) => `token-${call}`)
    await using tokens = new ProvidedTokens(source, silentLog)
    const first = tokenFor(tokens, 'ann')
    expect(await first.get()).toBe('token-1')
    const second = tokenFor(tokens, 'ann')
    expect(await second.get()).toBe('token-1')
    expect(second.bearer.refused?.('token-1')).toBe(true)
    expect(await second.get()).toBe('token-2')
    expect(second.bearer.refused?.('token-2')).toBe(false)
  })

  test('are kept for so many roles and no more', async () => {
    const { calls, source } = counted(async ({ username }) => `token-of-${username}`)
    await using tokens = new ProvidedTokens(source, silentLog, 2)
    for (const role of ['a', 'b', 'a', 'c', 'a', 'b']) {
      const { get, end } = tokenFor(tokens, role)
      await get()
      await end()
      expect(tokens.size).toBeLessThanOrEqual(2)
    }
    // b was the one that nobody had used for longest.
    expect(calls).toEqual(['a', 'b', 'c', 'b'])
  })

  test('are not taken from a login that is under way', async () => {
    const { source } = counted(async ({ username }) => `token-of-${username}`)
    await using tokens = new ProvidedTokens(source, silentLog, 1)
    const waiting = tokenFor(tokens, 'a')
    const other = tokenFor(tokens, 'b')
    await other.end()
    await other.end()
    expect(await waiting.get()).toBe('token-of-a')
    expect(tokens.size).toBe(1)
  })

  test('fail with the source, and the failure is not kept', async () => {
    const { source } = counted(async (_request, call) => {
      if (call === 1) {
        throw new Error('the issuer is down')
      }
      return 'token'
    })
    await using tokens = new ProvidedTokens(source, silentLog)
    await expect(tokenFor(tokens, 'ann').get()).rejects.toThrow('the issuer is down')
    expect(await tokenFor(tokens, 'ann').get()).toBe('token')
  })

  test('end with the proxy', async () => {
    const { source } = counted(() => new Promise(() => {}))
    const tokens = new ProvidedTokens(source, silentLog)
    const waiting = tokenFor(tokens, 'ann').get()
    await tokens[Symbol.asyncDispose]()
    await expect(waiting).rejects.toThrow('the token provider is closed')
  })

  test('are not printed', async () => {
    const { source } = counted(async () => 'the-token-itself')
    await using tokens = new ProvidedTokens(source, silentLog)
    const lease = tokenFor(tokens, 'ann')
    await lease.get()
    expect(inspect([tokens, lease], { depth: 20, showHidden: true })).not.toContain('itself')
  })
})
