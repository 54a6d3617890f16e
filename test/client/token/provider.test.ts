import { describe, expect, it } from 'vitest'
import {
  ConnectionToken,
  type CredentialLike,
  TokenCallbackError,
  TokenConfigError,
  TokenProvider,
  type TokenRequest,
  TokenTimeoutError,
  credential,
  tokenCallback,
} from '../../../src/client/index.ts'
import { FakeClock, settled } from '../support/fake-clock.ts'

/** A callback whose calls are answered by hand, in the order they came. */
class Desk {
  readonly requests: TokenRequest[] = []
  readonly #open: { resolve: (value: CredentialLike) => void; reject: (e: unknown) => void }[] = []

  readonly fn = (request: TokenRequest): Promise<CredentialLike> => {
    this.requests.push(request)
    return new Promise((resolve, reject) => this.#open.push({ resolve, reject }))
  }

  get calls(): number {
    return this.requests.length
  }

  get inFlight(): number {
    return this.#open.length
  }

  async answer(value: CredentialLike): Promise<void> {
    this.#open.shift()?.resolve(value)
    await settled()
  }

  async fail(error: unknown): Promise<void> {
    this.#open.shift()?.reject(error)
    await settled()
  }
}

function counting(
  make: (n: number, request: TokenRequest) => CredentialLike,
  options: object = {},
): { provider: TokenProvider; requests: TokenRequest[]; clock: FakeClock } {
  const clock = new FakeClock()
  const requests: TokenRequest[] = []
  const provider = new TokenProvider(
    (request) => {
      requests.push(request)
      return make(requests.length, request)
    },
    { clock, ...options },
  )
  return { provider, requests, clock }
}

describe('a provider', () => {
  it('B1: is refused without a callback', () => {
    for (const source of [undefined, null, {}, 'token']) {
      expect(() => new TokenProvider(source as never)).toThrow(TokenConfigError)
    }
  })

  it('B2, B3, B4: calls once, then holds the token', async () => {
    const { provider, requests } = counting((n) => credential(`t${n}`))
    expect(provider.peek()).toBeUndefined()
    expect(provider.has({})).toBe(false)
    const first = await provider.get()
    expect(first.fromCache).toBe(false)
    expect(provider.peek()?.accessToken).toBe('t1')
    expect(provider.has({})).toBe(true)
    const second = await provider.get()
    expect(second.fromCache).toBe(true)
    expect(second.credential.accessToken).toBe('t1')
    expect(requests).toHaveLength(1)
  })

  it('B5, B6, B7: forgets the token that was refused and no other', async () => {
    const { provider } = counting(() => credential('t'))
    expect(provider.invalidate('t')).toBe(false)
    await provider.get()
    expect(provider.invalidate('other')).toBe(false)
    expect(provider.peek()?.accessToken).toBe('t')
    expect(provider.invalidate('t')).toBe(true)
    expect(provider.peek()).toBeUndefined()
    expect(provider.invalidate('t')).toBe(false)
  })

  it('B8, B9: leaves 100 ms between the end of a call and the next, and never delays the first', async () => {
    const { provider, requests, clock } = counting((n) => credential(`t${n}`), {
      timeoutMs: Number.POSITIVE_INFINITY,
    })
    await provider.get()
    expect(clock.delays).toEqual([])
    await clock.advance(30)
    provider.invalidate('t1')
    const second = provider.get()
    await clock.advance(69)
    expect(requests).toHaveLength(1)
    await clock.advance(1)
    expect((await second).credential.accessToken).toBe('t2')
    expect(clock.delays).toEqual([70])
    await clock.advance(100)
    provider.invalidate('t2')
    await provider.get()
    expect(clock.delays).toEqual([70])
  })

  it('B10: can be given a token and be cleared', async () => {
    const { provider, requests } = counting(() => credential('called'))
    provider.store({ accessToken: 'kept' })
    expect(await provider.get()).toMatchObject({ fromCache: true })
    provider.clear()
    expect(provider.peek()).toBeUndefined()
    expect((await provider.get()).credential.accessToken).toBe('called')
    expect(requests).toHaveLength(1)
  })

  it('B11: passes an error on with its cause and holds nothing', async () => {
    const cause = new Error('the vault is closed')
    const { provider } = counting(() => {
      throw cause
    })
    const error = await provider.get().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TokenCallbackError)
    expect(error).toMatchObject({ code: 'ERR_TOKEN_CALLBACK', cause })
    expect((error as Error).message).toBe('user-defined OAuth flow failed: the vault is closed')
    expect(provider.peek()).toBeUndefined()
  })

  it('B12: refuses a result that is no credential and holds nothing', async () => {
    for (const result of [null, undefined, {}, { accessToken: '' }, { accessToken: 7 }, 'token']) {
      const { provider } = counting(() => result as never)
      await expect(provider.get()).rejects.toBeInstanceOf(TokenCallbackError)
      expect(provider.peek()).toBeUndefined()
    }
  })

  it('B13: a timeout is not a failure', async () => {
    const { provider } = counting((_n, request) => request.timedOut())
    const error = await provider.get().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TokenTimeoutError)
    expect(error).not.toBeInstanceOf(TokenCallbackError)
    expect(provider.peek()).toBeUndefined()
  })

  it('B14: tells the callback who it is for', async () => {
    const { provider, requests } = counting(() => credential('t'))
    const target = { host: 'db', port: 5432, database: 'd' }
    await provider.get({
      username: 'ann',
      target,
      issuer: 'https://i',
      clientId: 'c',
      announced: { discoveryUrl: 'https://i/x', scope: 'theirs' },
    })
    expect(requests[0]).toMatchObject({
      username: 'ann',
      target,
      issuer: 'https://i',
      scope: 'theirs',
      discoveryUrl: 'https://i/x',
      clientId: 'c',
    })
  })

  it('B14: the token of one role, host, issuer or scope is never given to another', async () => {
    const { provider, clock } = counting((n) => credential(`t${n}`))
    const needs = [
      { username: 'ann' },
      { username: 'bob' },
      { username: 'ann', target: { host: 'a', port: 1, database: undefined } },
      { username: 'ann', target: { host: 'a', port: 2, database: undefined } },
      { username: 'ann', issuer: 'https://i' },
      { username: 'ann', scope: 's' },
      { username: 'ann', clientId: 'c' },
    ]
    const tokens: string[] = []
    for (const need of needs) {
      const got = provider.get(need)
      await clock.advance(100)
      tokens.push((await got).credential.accessToken)
    }
    expect(new Set(tokens).size).toBe(needs.length)
    expect((await provider.get({ username: 'ann' })).credential.accessToken).toBe('t1')
  })

  it('B15: refuses options that do not fit the callback', () => {
    expect(() => new TokenProvider(() => credential('t'), { allowedHosts: [] })).toThrow(
      TokenConfigError,
    )
    for (const timeoutMs of [-1, Number.NaN, '5' as never]) {
      expect(() => new TokenProvider(() => credential('t'), { timeoutMs })).toThrow(
        TokenConfigError,
      )
    }
  })

  it('B16: 1,000 concurrent gets make one call', async () => {
    const desk = new Desk()
    const provider = new TokenProvider(desk.fn)
    const waiting = Array.from({ length: 1000 }, () => provider.get())
    await settled()
    expect(desk.calls).toBe(1)
    await desk.answer(credential('t'))
    const got = await Promise.all(waiting)
    expect(new Set(got.map((one) => one.credential.accessToken))).toEqual(new Set(['t']))
    expect(desk.calls).toBe(1)
  })

  it('B17: calls again after a call has failed', async () => {
    const { provider, clock } = counting((n) => {
      if (n < 3) {
        throw new Error(`failure ${n}`)
      }
      return credential('third')
    })
    await expect(provider.get()).rejects.toThrow('failure 1')
    const second = expect(provider.get()).rejects.toThrow('failure 2')
    await clock.advance(100)
    await second
    const third = provider.get()
    await clock.advance(100)
    expect((await third).credential.accessToken).toBe('third')
  })

  it('B17: calls again for whoever asks in the very moment of the failure', async () => {
    const { provider, requests, clock } = counting((n) => {
      if (n === 1) {
        throw new Error('once')
      }
      return credential(`t${n}`)
    })
    const again: Promise<unknown>[] = []
    const first = provider.get().catch(() => {
      again.push(provider.get())
    })
    await first
    await clock.advance(100)
    expect(await again[0]).toMatchObject({ fromCache: false })
    expect(requests).toHaveLength(2)
  })

  it('B18: a failure reaches everybody who waited for that call and nobody else', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock })
    const first = Promise.allSettled([provider.get(), provider.get()])
    await settled()
    await desk.fail(new Error('broken'))
    expect((await first).map((one) => one.status)).toEqual(['rejected', 'rejected'])
    const next = provider.get()
    await clock.advance(100)
    await desk.answer(credential('fine'))
    expect((await next).credential.accessToken).toBe('fine')
  })

  it('B19: who leaves does not disturb the others', async () => {
    const desk = new Desk()
    const provider = new TokenProvider(desk.fn)
    const leaving = new AbortController()
    const gone = provider.get({ signal: leaving.signal })
    const staying = provider.get()
    await settled()
    leaving.abort(new Error('bye'))
    await expect(gone).rejects.toThrow('bye')
    expect(desk.requests[0]?.signal.aborted).toBe(false)
    await desk.answer(credential('t'))
    expect((await staying).credential.accessToken).toBe('t')
  })

  it('B19: the signal of the call fires when the last one leaves', async () => {
    const desk = new Desk()
    const provider = new TokenProvider(desk.fn)
    const leaving = [new AbortController(), new AbortController()]
    const gone = leaving.map(({ signal }) => provider.get({ signal }))
    await settled()
    leaving[0]?.abort(new Error('first'))
    expect(desk.requests[0]?.signal.aborted).toBe(false)
    leaving[1]?.abort(new Error('second'))
    expect(desk.requests[0]?.signal.aborted).toBe(true)
    await expect(gone[0]).rejects.toThrow('first')
    await expect(gone[1]).rejects.toThrow('second')
  })

  it('B19: a signal that has fired already makes no call', async () => {
    const { provider, requests } = counting(() => credential('t'))
    const signal = AbortSignal.abort(new Error('too late'))
    await expect(provider.get({ signal })).rejects.toThrow('too late')
    expect(requests).toHaveLength(0)
  })

  it('B20: a credential that comes after everybody left is kept', async () => {
    const desk = new Desk()
    const provider = new TokenProvider(desk.fn)
    const leaving = new AbortController()
    const gone = provider.get({ signal: leaving.signal })
    await settled()
    leaving.abort(new Error('bye'))
    await expect(gone).rejects.toThrow('bye')
    await desk.answer(credential('late'))
    expect(await provider.get()).toMatchObject({ fromCache: true })
    expect(desk.calls).toBe(1)
  })

  it('B20: a credential that comes after the provider was disposed is dropped', async () => {
    const desk = new Desk()
    const provider = new TokenProvider(desk.fn)
    const waiting = provider.get().catch((thrown: unknown) => thrown)
    await settled()
    await provider[Symbol.asyncDispose]()
    expect(await waiting).toMatchObject({ message: 'the token provider is closed' })
    expect(desk.requests[0]?.signal.aborted).toBe(true)
    await desk.answer(credential('late'))
    expect(provider.peek()).toBeUndefined()
    await expect(provider.get()).rejects.toThrow('the token provider is closed')
    expect(() => provider.store(credential('t'))).toThrow('the token provider is closed')
  })

  it('B21: looks again after waiting and uses what was stored meanwhile', async () => {
    const { provider, requests, clock } = counting((n) => credential(`t${n}`))
    await provider.get()
    provider.invalidate('t1')
    const second = provider.get()
    await clock.advance(50)
    provider.store(credential('stored'))
    await clock.advance(50)
    expect(await second).toMatchObject({ fromCache: true })
    expect((await second).credential.accessToken).toBe('stored')
    expect(requests).toHaveLength(1)
  })

  it('B21: a late credential serves those who came after the others had left', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock })
    const leaving = new AbortController()
    const gone = provider.get({ signal: leaving.signal })
    await settled()
    leaving.abort(new Error('bye'))
    await expect(gone).rejects.toThrow('bye')
    const next = provider.get()
    await desk.answer(credential('late'))
    await clock.advance(100)
    expect((await next).credential.accessToken).toBe('late')
    expect(desk.calls).toBe(1)
  })

  it('B22: two providers may call one callback at the same time', async () => {
    const desk = new Desk()
    const callback = tokenCallback(desk.fn)
    const providers = [new TokenProvider(callback), new TokenProvider(callback)]
    const waiting = providers.map((provider) => provider.get())
    await settled()
    expect(desk.inFlight).toBe(2)
    await desk.answer(credential('a'))
    await desk.answer(credential('b'))
    expect((await Promise.all(waiting)).map((one) => one.credential.accessToken)).toEqual([
      'a',
      'b',
    ])
  })

  it('B22: one provider never has two calls in flight, for different roles either', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock })
    const waiting = ['a', 'b', 'c'].map((username) => provider.get({ username }))
    for (let call = 1; call <= 3; call += 1) {
      await clock.advance(100)
      expect(desk.inFlight).toBe(1)
      expect(desk.calls).toBe(call)
      await desk.answer(credential(`t${call}`))
    }
    expect((await Promise.all(waiting)).map((one) => one.credential.accessToken)).toEqual([
      't1',
      't2',
      't3',
    ])
  })

  it('B23: a late report about the old token does not touch the new one', async () => {
    const { provider, clock } = counting((n) => credential(`t${n}`))
    await provider.get()
    provider.invalidate('t1')
    const renewed = provider.get()
    await clock.advance(100)
    await renewed
    expect(provider.invalidate('t1')).toBe(false)
    expect(provider.peek()?.accessToken).toBe('t2')
  })

  it('B24: renews a token with less than a tenth or a minute left, with its refresh token', async () => {
    for (const [life, margin] of [
      [100_000, 10_000],
      [3_600_000, 60_000],
    ] as const) {
      const { provider, requests, clock } = counting((n) =>
        credential(`t${n}`, { expiresInMs: life, refreshToken: `r${n}` }),
      )
      await provider.get()
      expect(requests[0]).toMatchObject({ reason: 'initial' })
      expect(requests[0]?.refreshToken).toBeUndefined()
      await clock.advance(life - margin - 1)
      expect((await provider.get()).fromCache).toBe(true)
      await clock.advance(1)
      expect(await provider.get()).toMatchObject({ fromCache: false, renewed: true })
      expect(requests[1]).toMatchObject({ reason: 'expiring', refreshToken: 'r1' })
    }
  })

  it('B24: after a refusal the reason is rejected, and the refresh token is handed on until forgotten', async () => {
    const { provider, requests, clock } = counting((n) =>
      credential(`t${n}`, { refreshToken: `r${n}` }),
    )
    await provider.get()
    provider.invalidate('t1')
    const second = provider.get()
    await clock.advance(100)
    await second
    expect(requests[1]).toMatchObject({ reason: 'rejected', refreshToken: 'r1' })
    provider.invalidate('t2')
    provider.forgetRefreshToken({}, 'r1')
    provider.forgetRefreshToken({ username: 'other' }, 'r2')
    provider.forgetRefreshToken({}, 'r2')
    const third = provider.get()
    await clock.advance(100)
    await third
    expect(requests[2]?.reason).toBe('rejected')
    expect(requests[2]?.refreshToken).toBeUndefined()
  })

  it('B25: a token that expires at once is used and not kept', async () => {
    const { provider, requests, clock } = counting((n) => credential(`t${n}`, { expiresInMs: 0 }))
    expect((await provider.get()).credential.accessToken).toBe('t1')
    expect(provider.peek()).toBeUndefined()
    const second = provider.get()
    await clock.advance(100)
    expect((await second).credential.accessToken).toBe('t2')
    expect(requests).toHaveLength(2)
  })

  it('B26: the wall clock does not matter', async () => {
    const { provider, clock } = counting((n) => credential(`t${n}`, { expiresInMs: 1000 }))
    const { now } = Date
    await provider.get()
    try {
      Date.now = () => now() + 1e12
      expect((await provider.get()).fromCache).toBe(true)
      Date.now = () => 0
      await clock.advance(1000)
      expect((await provider.get()).fromCache).toBe(false)
    } finally {
      Date.now = now
    }
  })

  it('B27: gives 1 minute to a machine and 5 to a person, from when the call starts', async () => {
    for (const [interactive, limit] of [
      [false, 60_000],
      [true, 300_000],
    ] as const) {
      const desk = new Desk()
      const clock = new FakeClock()
      const provider = new TokenProvider(tokenCallback(desk.fn, { interactive }), { clock })
      const first = provider.get({ username: 'a' }).catch((thrown: unknown) => thrown)
      const queued = provider.get({ username: 'b' }).catch((thrown: unknown) => thrown)
      await clock.advance(limit - 1)
      expect(desk.requests[0]?.deadline).toBe(1_000_000 + limit)
      await desk.answer(credential('t'))
      await clock.advance(100)
      expect(desk.requests[1]?.deadline).toBe(clock.now() + limit)
      await clock.advance(limit - 1)
      expect(desk.requests[1]?.signal.aborted).toBe(false)
      await clock.advance(1)
      expect(desk.requests[1]?.signal.aborted).toBe(true)
      expect(await queued).toBeInstanceOf(TokenTimeoutError)
      expect(await first).toMatchObject({ fromCache: false })
    }
  })

  it('B27: has no deadline where none is wanted', async () => {
    const { provider, requests, clock } = counting(() => credential('t'), {
      timeoutMs: Number.POSITIVE_INFINITY,
    })
    await provider.get()
    expect(requests[0]?.deadline).toBeUndefined()
    expect(clock.timers.size).toBe(0)
  })

  it('B28: a callback that ignores its signal delays the next call, until it is written off', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock, timeoutMs: 1000, graceMs: 500 })
    const first = provider.get().catch((thrown: unknown) => thrown)
    await clock.advance(1000)
    expect(await first).toBeInstanceOf(TokenTimeoutError)
    const second = provider.get()
    await clock.advance(499)
    expect(desk.calls).toBe(1)
    await clock.advance(1)
    await clock.advance(100)
    expect(desk.calls).toBe(2)
    await desk.answer(credential('of-the-hung-call'))
    expect(provider.peek()).toBeUndefined()
    await desk.answer(credential('second'))
    expect((await second).credential.accessToken).toBe('second')
  })

  it('B28: a call that settles after its deadline makes room at once', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock, timeoutMs: 1000, graceMs: 500_000 })
    const first = provider.get().catch((thrown: unknown) => thrown)
    await clock.advance(1000)
    expect(await first).toBeInstanceOf(TokenTimeoutError)
    const second = provider.get().catch((thrown: unknown) => thrown)
    await desk.fail(new Error('aborted'))
    await clock.advance(100)
    expect(desk.calls).toBe(2)
    await desk.answer(credential('t'))
    expect(await second).toMatchObject({ fromCache: false })
  })

  it('B29: keeps a token that has not expired when renewing it fails', async () => {
    const { provider, requests, clock } = counting((n) => {
      if (n > 1) {
        throw new Error('the issuer is down')
      }
      return credential('t1', { expiresInMs: 100_000 })
    })
    await provider.get()
    await clock.advance(95_000)
    expect(await provider.get()).toMatchObject({ fromCache: true })
    expect(requests).toHaveLength(2)
    await clock.advance(5000)
    await expect(provider.get()).rejects.toThrow('the issuer is down')
  })

  it('B29: keeps it also when renewing it hangs', async () => {
    const desk = new Desk()
    const clock = new FakeClock()
    const provider = new TokenProvider(desk.fn, { clock, timeoutMs: 1000 })
    provider.store({ accessToken: 'old', expiresInMs: 100_000 })
    await clock.advance(95_000)
    const got = provider.get()
    await clock.advance(1000)
    expect((await got).credential.accessToken).toBe('old')
  })

  it('B30: renews in the background 5 minutes ahead or at half the life, and not below a minute', async () => {
    for (const [life, delay] of [
      [3_600_000, 3_300_000],
      [300_000, 150_000],
      [59_999, undefined],
      [undefined, undefined],
    ] as const) {
      const { provider, requests, clock } = counting(
        (n) => credential(`t${n}`, { expiresInMs: life }),
        { backgroundRefresh: true },
      )
      await provider.get()
      const timers = [...clock.timers]
      expect(timers.map((timer) => timer.delayMs)).toEqual(delay === undefined ? [] : [delay])
      expect(timers.every((timer) => timer.background)).toBe(true)
      if (delay !== undefined) {
        await clock.advance(delay)
        expect(requests).toHaveLength(2)
        expect(requests[1]?.reason).toBe('expiring')
        expect(await provider.get()).toMatchObject({ fromCache: true })
        expect(provider.peek()?.accessToken).toBe('t2')
        expect(clock.timers.size).toBe(1)
      }
      await provider[Symbol.asyncDispose]()
      expect(clock.timers.size).toBe(0)
    }
  })

  it('B30: asks no person out of the blue', async () => {
    for (const [refreshToken, timers] of [
      [undefined, 0],
      ['r', 1],
    ] as const) {
      const clock = new FakeClock()
      const person = tokenCallback(
        () => credential('t', { expiresInMs: 3_600_000, refreshToken }),
        {
          interactive: true,
        },
      )
      await new TokenProvider(person, { clock, backgroundRefresh: true }).get()
      expect(clock.timers.size).toBe(timers)
    }
  })

  it('B30: a background renewal that fails is no unhandled rejection and keeps the token', async () => {
    const { provider, requests, clock } = counting(
      (n) => {
        if (n > 1) {
          throw new Error('down')
        }
        return credential('t1', { expiresInMs: 300_000 })
      },
      { backgroundRefresh: true },
    )
    await provider.get()
    await clock.advance(150_000)
    expect(requests).toHaveLength(2)
    expect(await provider.get()).toMatchObject({ fromCache: true })
  })

  it('B31: the token of a connection lives independently of the provider', async () => {
    const { provider } = counting(() => credential('t'))
    const { credential: got, expiresAt } = await provider.get()
    const token = new ConnectionToken(got.accessToken, expiresAt)
    provider.invalidate('t')
    expect(token.accessToken).toBe('t')
    expect(token.expiresAt).toBeUndefined()
    token.clear()
    expect(token.accessToken).toBeUndefined()
    expect(JSON.stringify(new ConnectionToken('t'))).toBe('{}')
  })

  it('B32: a callback that returns or throws at once is as good as one that waits', async () => {
    const sync = counting(() => credential('t'))
    expect((await sync.provider.get()).credential.accessToken).toBe('t')
    const throws = counting(() => {
      throw new Error('at once')
    })
    await expect(throws.provider.get()).rejects.toThrow('at once')
    const throwsText = counting(() => {
      throw 'only text'
    })
    await expect(throwsText.provider.get()).rejects.toThrow('only text')
  })

  it('B33: a callback that asks its own provider fails instead of waiting for itself', async () => {
    const holder: { provider?: TokenProvider } = {}
    holder.provider = new TokenProvider(async () => {
      await settled()
      const got = await holder.provider?.get({ username: 'somebody else' })
      return credential(got?.credential.accessToken ?? 'none')
    })
    await expect(holder.provider.get()).rejects.toThrow('asked its own provider')
  })

  it('B33: a callback may leave behind work that asks later', async () => {
    const clock = new FakeClock()
    const later: Promise<unknown>[] = []
    let calls = 0
    const provider: TokenProvider = new TokenProvider(
      () => {
        calls += 1
        if (calls === 1) {
          later.push(settled().then(() => provider.get({ username: 'b' })))
        }
        return credential(`t${calls}`)
      },
      { clock },
    )
    await provider.get()
    await settled()
    await clock.advance(100)
    expect(await later[0]).toMatchObject({ fromCache: false })
  })
})
