import { setMaxListeners } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { VerifiedTokens } from '../../validators/lib/token/verified-tokens.ts'
import { useJwt } from './support/jwt-fixture.ts'

const OPTIONS = { entries: 3, bytes: 1_000, ttlMs: 60_000 }
const never = new AbortController()
setMaxListeners(0, never.signal)

/** A memory with tokens that were proven under generation 1. */
async function remembering(tokens: VerifiedTokens, ...names: string[]): Promise<void> {
  for (const name of names) {
    const token = { digest: tokens.digest(name), claims: { sub: name }, generation: 1, bytes: 10 }
    await tokens.prove(token, () => true, never)
  }
}
const recalled = (
  tokens: VerifiedTokens,
  name: string,
  generation: number | undefined = 1,
): unknown => tokens.recall(tokens.digest(name), generation)

afterEach(() => {
  vi.useRealTimers()
})

describe('the memory for verified tokens', () => {
  it('returns the claims of the same token only', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    await remembering(tokens, 'a', 'b')
    expect(recalled(tokens, 'a')).toEqual({ sub: 'a' })
    expect(recalled(tokens, 'b')).toEqual({ sub: 'b' })
    expect(recalled(tokens, 'c')).toBeUndefined()
  })

  it('forgets with the keys, and while there are none', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    await remembering(tokens, 'a')
    expect(tokens.recall(tokens.digest('a'), 2)).toBeUndefined()
    await remembering(tokens, 'a')
    expect(tokens.recall(tokens.digest('a'), undefined)).toBeUndefined()
  })

  it('forgets after its time', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const tokens = new VerifiedTokens(OPTIONS)
    await remembering(tokens, 'a')
    vi.advanceTimersByTime(59_999)
    expect(recalled(tokens, 'a')).toBeDefined()
    vi.advanceTimersByTime(1)
    expect(recalled(tokens, 'a')).toBeUndefined()
  })

  it('is not younger when the system clock is set back', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] })
    const tokens = new VerifiedTokens(OPTIONS)
    await remembering(tokens, 'a')
    vi.advanceTimersByTime(60_000)
    vi.setSystemTime(0)
    expect(recalled(tokens, 'a')).toBeUndefined()
  })

  it('keeps no more entries and no more bytes than it may', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    await remembering(tokens, 'a', 'b', 'c', 'd')
    expect(recalled(tokens, 'a')).toBeUndefined()
    expect(recalled(tokens, 'd')).toBeDefined()
    const small = new VerifiedTokens({ ...OPTIONS, bytes: 15 })
    await remembering(small, 'a', 'b')
    expect(recalled(small, 'a')).toBeUndefined()
    expect(recalled(small, 'b')).toBeDefined()
    const none = new VerifiedTokens({ ...OPTIONS, entries: 0 })
    await remembering(none, 'a')
    expect(recalled(none, 'a')).toBeUndefined()
  })

  it('checks a signature once for a hundred who ask at once', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    let checks = 0
    const prove = (): Promise<void> =>
      tokens.prove(
        { digest: 'd', claims: {}, generation: 1, bytes: 1 },
        async () => {
          checks += 1
          await new Promise((resolve) => setImmediate(resolve))
          return true
        },
        never,
      )
    await Promise.all(Array.from({ length: 100 }, prove))
    expect(checks).toBe(1)
  })

  it('does not end the check for all when one of them leaves', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    const leaving = new AbortController()
    let finish = (_valid: boolean): void => undefined
    const check = (): Promise<boolean> => new Promise((resolve) => (finish = resolve))
    const token = { digest: 'd', claims: { sub: 'x' }, generation: 1, bytes: 1 }
    const first = tokens.prove(token, check, leaving)
    const second = tokens.prove(token, check, never)
    leaving.abort(new Error('left'))
    await expect(first).rejects.toThrow('left')
    finish(true)
    await second
    expect(tokens.recall('d', 1)).toEqual({ sub: 'x' })
  })

  it('does not take what the old keys prove for a proof by the new ones', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    let finish = (_valid: boolean): void => undefined
    const slowly = (): Promise<boolean> => new Promise((resolve) => (finish = resolve))
    const token = { digest: 'd', claims: {}, bytes: 1 }
    const byOldKeys = tokens.prove({ ...token, generation: 1 }, slowly, never)
    const byNewKeys = tokens.prove({ ...token, generation: 2 }, async () => false, never)
    await expect(byNewKeys).rejects.toMatchObject({ code: 'bad_signature' })
    finish(true)
    await byOldKeys
    expect(tokens.recall('d', 1)).toEqual({})
    expect(() => tokens.recall('d', 2)).toThrow('signature')
  })

  it('refuses a forged token for a moment without checking it again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const tokens = new VerifiedTokens(OPTIONS)
    const token = { digest: 'd', claims: {}, generation: 1, bytes: 1 }
    await expect(tokens.prove(token, () => false, never)).rejects.toMatchObject({
      code: 'bad_signature',
    })
    expect(() => tokens.recall('d', 1)).toThrow('signature')
    expect(tokens.recall('d', 2)).toBeUndefined()
    vi.advanceTimersByTime(5_000)
    expect(tokens.recall('d', 1)).toBeUndefined()
  })

  it('remembers a thousand forged tokens and no more', async () => {
    const tokens = new VerifiedTokens(OPTIONS)
    for (let i = 0; i < 1_025; i += 1) {
      const token = { digest: `d${i}`, claims: {}, generation: 1, bytes: 1 }
      await tokens.prove(token, () => false, never).catch(() => undefined)
    }
    expect(tokens.recall('d0', 1)).toBeUndefined()
    expect(() => tokens.recall('d1024', 1)).toThrow('signature')
  })
})

describe('a remembered token', () => {
  const jwt = useJwt()

  it('is still asked for its scope, its audience and its role', async () => {
    const token = jwt.server.token()
    await jwt.accepted(token)
    expect(await jwt.refusal(token, { scope: ['db', 'more'] })).toBe('insufficient_scope')
    const delegated = { options: { authorization: 'scope_role' }, delegateIdentMapping: true }
    expect(await jwt.refusal(token, delegated)).toBe('role_not_granted')
    await jwt.accepted(token)
  })
})

describe('the name of a token in the memory', () => {
  it('is a digest that another process cannot make', () => {
    const name = new VerifiedTokens(OPTIONS).digest('a.b.c')
    expect(Buffer.from(name, 'base64')).toHaveLength(32)
    expect(new VerifiedTokens(OPTIONS).digest('a.b.c')).not.toBe(name)
  })
})
