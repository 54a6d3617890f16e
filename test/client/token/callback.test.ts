import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  type CredentialLike,
  TOKEN_CALLBACK_VERSION,
  TokenCallbackError,
  TokenProvider,
  type TokenProviderOptions,
  type TokenRequest,
  TokenTimeoutError,
  credential,
  tokenCallback,
  tokenRequest,
} from '../../../src/client/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const TOKEN = 'secret-token-value'

const credentialLike = (accessToken: string, expiresInMs: number): CredentialLike => ({
  accessToken,
  expiresInMs,
})

describe('a token callback', () => {
  it('A1: is refused unless it is a function', () => {
    for (const value of [null, undefined, 'fn', {}, 7]) {
      expect(() => tokenCallback(value as never)).toThrow(TypeError)
    }
    const callback = tokenCallback(() => credential('t'))
    expect(() => {
      callback.fn = null as never
    }).toThrow(TypeError)
  })

  it('A2: has the function it was made with and no context at first', () => {
    const fn = () => credential('t')
    const callback = tokenCallback(fn)
    expect(callback.fn).toBe(fn)
    expect(callback.context).toBeUndefined()
    expect(callback.interactive).toBe(false)
  })

  it('A2: takes another function afterwards', () => {
    const callback = tokenCallback(() => credential('one'))
    const other = () => credential('two')
    callback.fn = other
    expect(callback.fn).toBe(other)
  })

  it('A3: hands the same context object to the call', async () => {
    const context = { vault: 'a' }
    const seen: unknown[] = []
    const callback = tokenCallback<object>(
      (request) => {
        seen.push(request.context)
        return credential('t')
      },
      { context },
    )
    expect(callback.context).toBe(context)
    await new TokenProvider(callback).get()
    expect(seen[0]).toBe(context)
  })

  it('A3: takes a context that is set later', async () => {
    const seen: unknown[] = []
    const callback = tokenCallback<unknown>((request) => {
      seen.push(request.context)
      return credential('t')
    })
    callback.context = 'later'
    await new TokenProvider(callback).get()
    expect(seen).toEqual(['later'])
  })

  it('A4: has no context once that is set to undefined', () => {
    const callback = tokenCallback<object | undefined>(() => credential('t'), { context: {} })
    callback.context = undefined
    expect(callback.context).toBeUndefined()
  })

  it('A5: is copied by the provider, except what is inside its context', async () => {
    const context = { word: 'before' }
    const seen: unknown[] = []
    const callback = tokenCallback<{ word: string }>(
      (request) => {
        seen.push(request.context.word)
        return credential('original')
      },
      { context },
    )
    const provider = new TokenProvider(callback)
    callback.fn = () => credential('other')
    callback.context = { word: 'another object' }
    callback.interactive = true
    context.word = 'after'
    const { credential: got } = await provider.get()
    expect(got.accessToken).toBe('original')
    expect(seen).toEqual(['after'])
    expect(provider.interactive).toBe(false)
  })

  it('A5: is copied by each provider when it is handed over, as it is then', async () => {
    const callback = tokenCallback<string>(({ context }) => credential(`one-${context}`), {
      context: 'a',
    })
    const first = new TokenProvider(callback)
    callback.fn = ({ context }) => credential(`two-${context}`)
    callback.context = 'b'
    const second = new TokenProvider(callback)
    callback.fn = () => credential('three')
    expect((await first.get()).credential.accessToken).toBe('one-a')
    expect((await second.get()).credential.accessToken).toBe('two-b')
  })

  it('A5: what is changed while a call is in flight has no effect on the next', async () => {
    const clock = new FakeClock()
    const callback = tokenCallback<string>(
      ({ context }) => {
        callback.fn = () => credential('another')
        callback.context = 'after'
        return credential(context, { expiresInMs: 0 })
      },
      { context: 'before' },
    )
    const provider = new TokenProvider(callback, { clock })
    await provider.get()
    const again = provider.get()
    await clock.advance(100)
    expect((await again).credential.accessToken).toBe('before')
  })

  it('A5: options that are changed after they were handed over have no effect', async () => {
    const clock = new FakeClock()
    const other = new FakeClock()
    const notes: string[] = []
    const options: { -readonly [Name in keyof TokenProviderOptions]: TokenProviderOptions[Name] } =
      { clock, timeoutMs: 1000, graceMs: 500, backgroundRefresh: false }
    const requests: TokenRequest[] = []
    const provider = new TokenProvider((request) => {
      requests.push(request)
      return requests.length === 1
        ? Object.assign({ unknown: 1 }, credentialLike('t', 3_600_000))
        : new Promise<never>(() => {})
    }, options)
    options.clock = other
    options.timeoutMs = 7
    options.graceMs = 7
    options.backgroundRefresh = true
    options.log = { debug: (text) => notes.push(text), warning: (text) => notes.push(text) }
    await provider.get()
    expect(requests[0]?.deadline).toBe(clock.now() + 1000)
    expect(notes).toEqual([])
    // No timer for a renewal in the background, on neither clock.
    expect([clock.timers.size, other.timers.size]).toEqual([0, 0])
    provider.invalidate('t')
    const hung = provider.get().catch((thrown: unknown) => thrown)
    await clock.advance(100)
    await clock.advance(999)
    expect(requests[1]?.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(await hung).toBeInstanceOf(TokenTimeoutError)
    const next = provider.get().catch((thrown: unknown) => thrown)
    await clock.advance(499)
    expect(requests).toHaveLength(2)
    await clock.advance(101)
    expect(requests).toHaveLength(3)
    await provider[Symbol.asyncDispose]()
    await next
  })

  it('A5: hosts that are added after they were handed over are not allowed', async () => {
    const allowedHosts = ['a.example']
    const options = { allowedHosts, timeoutMs: 1 }
    const callback = tokenCallback(() => credential('t'), { interactive: true })
    const provider = new TokenProvider(callback, options)
    allowedHosts.push('evil.example')
    expect(provider.allowedHosts).toEqual(['a.example'])
  })
})

describe('a token request', () => {
  it('A6: is empty when nothing is known', () => {
    const request = tokenRequest()
    expect(request.deadline).toBeUndefined()
    expect(request.username).toBeUndefined()
    expect(request.version).toBe(TOKEN_CALLBACK_VERSION)
    expect(request.signal.aborted).toBe(false)
    expect(request.reason).toBe('initial')
    expect(TOKEN_CALLBACK_VERSION).toBe(1)
  })

  it('A7: passes through what it is made of and cannot be changed', () => {
    const target = { host: 'db', port: 5432, database: 'd' }
    const fields = { deadline: 123, username: 'ann', target }
    const request = tokenRequest(fields)
    fields.username = 'mallory'
    target.host = 'evil'
    expect(request).toMatchObject({ deadline: 123, username: 'ann', version: 1 })
    expect(request.target).toEqual({ host: 'db', port: 5432, database: 'd' })
    expect(() => Object.assign(request, { username: 'mallory' })).toThrow(TypeError)
    expect(() => Object.assign(request.target as object, { host: 'evil' })).toThrow(TypeError)
  })

  it('A8: knows no user name and no deadline once they are undefined', () => {
    const request = tokenRequest({ username: undefined, deadline: undefined })
    expect(request.username).toBeUndefined()
    expect(request.deadline).toBeUndefined()
  })

  it('A9: ends as timed out when the callback says so, and only then', async () => {
    expect(() => tokenRequest().timedOut()).toThrow(TokenTimeoutError)
    const timesOut = new TokenProvider((request) => request.timedOut())
    await expect(timesOut.get()).rejects.toBeInstanceOf(TokenTimeoutError)
    const fails = new TokenProvider(() => {
      throw new Error('no')
    })
    await expect(fails.get()).rejects.toBeInstanceOf(TokenCallbackError)
  })

  it('A10: a credential that is returned after the abort still counts', async () => {
    const clock = new FakeClock()
    const provider = new TokenProvider(
      async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        return credential('in-spite-of-it')
      },
      { clock, timeoutMs: 50 },
    )
    const got = provider.get()
    await clock.advance(50)
    expect((await got).credential.accessToken).toBe('in-spite-of-it')
  })

  it('A17: does not show the refresh token', () => {
    const request = tokenRequest({ refreshToken: TOKEN })
    expect(request.refreshToken).toBe(TOKEN)
    expect(inspect(request, { depth: 9 })).not.toContain(TOKEN)
    expect(JSON.stringify(request)).not.toContain(TOKEN)
    expect(JSON.stringify({ ...request })).not.toContain(TOKEN)
  })

  it('A18: may have fields that a callback of version 1 does not know', async () => {
    const callback = (request: TokenRequest) => {
      if (request.version > 1) {
        throw new Error('written for version 1')
      }
      return credential(`for-${request.username}`)
    }
    const future = Object.assign(Object.create(tokenRequest({ username: 'ann' })), { soon: 1 })
    expect(callback(future).accessToken).toBe('for-ann')
    expect(() => callback(Object.defineProperty(future, 'version', { value: 2 }))).toThrow(
      'written for version 1',
    )
  })
})

describe('a credential', () => {
  it('A11: has its token and no expiry', () => {
    const made = credential('token')
    expect(made.accessToken).toBe('token')
    expect(made.expiresInMs).toBeUndefined()
    expect(made.refreshToken).toBeUndefined()
  })

  it('A12: has the expiry it was given', () => {
    expect(credential('token', { expiresInMs: 123 }).expiresInMs).toBe(123)
  })

  it('A13: can expire in 0 milliseconds, which is not the same as not knowing', () => {
    expect(credential('token', { expiresInMs: 0 }).expiresInMs).toBe(0)
  })

  it('A14: is refused without a token', () => {
    for (const token of [null, undefined, '', 7, {}]) {
      expect(() => credential(token as never)).toThrow(TypeError)
      expect(() => credential(token as never, { expiresInMs: 1 })).toThrow(TypeError)
    }
    const made = credential('t')
    expect(() => {
      made.accessToken = ''
    }).toThrow(TypeError)
  })

  it('A15: is refused with an impossible expiry', () => {
    for (const expiresInMs of [-1, Number.NaN, Number.POSITIVE_INFINITY, '60', null]) {
      expect(() => credential('t', { expiresInMs: expiresInMs as never })).toThrow(TypeError)
      const made = credential('t')
      expect(() => {
        made.expiresInMs = expiresInMs as never
      }).toThrow(TypeError)
      expect(made.expiresInMs).toBeUndefined()
    }
  })

  it('A16: can be changed by who made it; the copy a provider gives out cannot', async () => {
    const made = credential('one')
    const provider = new TokenProvider(() => made)
    made.accessToken = 'two'
    made.expiresInMs = 60_000
    made.refreshToken = 'r'
    const { credential: copy } = await provider.get()
    made.accessToken = 'three'
    expect(copy.accessToken).toBe('two')
    expect(copy.expiresInMs).toBe(60_000)
    expect(copy.refreshToken).toBe('r')
    expect(() => {
      copy.accessToken = 'four'
    }).toThrow(TypeError)
    expect(() => {
      copy.expiresInMs = undefined
    }).toThrow(TypeError)
    expect(() => {
      copy.refreshToken = undefined
    }).toThrow(TypeError)
  })

  it('A16: nothing that is set after it was returned reaches the provider', async () => {
    const clock = new FakeClock()
    const made = credential('kept', { expiresInMs: 100_000, refreshToken: 'r1' })
    const plain = { accessToken: 'kept', expiresInMs: 100_000, refreshToken: 'r1' }
    for (const returned of [made, plain]) {
      const requests: TokenRequest[] = []
      const provider = new TokenProvider(
        (request) => {
          requests.push(request)
          return returned
        },
        { clock },
      )
      const { expiresAt, credential: copy } = await provider.get()
      expect(expiresAt).toBe(clock.now() + 100_000)
      const before = { ...plain }
      returned.accessToken = 'changed'
      returned.expiresInMs = 0
      returned.refreshToken = 'r2'
      expect(copy).toMatchObject(before)
      expect(provider.peek()).toBe(copy)
      expect(await provider.get()).toMatchObject({ fromCache: true, expiresAt })
      provider.invalidate('kept')
      const again = provider.get()
      await clock.advance(100)
      await again
      expect(requests[1]?.refreshToken).toBe('r1')
      Object.assign(returned, before)
    }
  })

  it('A16: what was stored is a copy, too', () => {
    const provider = new TokenProvider(() => credential('t'))
    const made = credential('kept')
    provider.store(made)
    made.accessToken = 'changed'
    expect(provider.peek()?.accessToken).toBe('kept')
  })

  it('A16: may be a plain object, whose unknown keys are noted and ignored', async () => {
    const notes: unknown[] = []
    const log = {
      debug: (message: string, fields?: object) => notes.push([message, fields]),
      warning() {},
    }
    const provider = new TokenProvider(
      () => ({ accessToken: TOKEN, expiresInMs: 5, tokenType: 'Bearer' }),
      { log },
    )
    const got = await provider.get()
    expect(got.credential.accessToken).toBe(TOKEN)
    expect(notes).toEqual([
      ['token callback returned an unknown property', { property: 'tokenType' }],
    ])
  })

  it('A17: does not show its tokens', async () => {
    const made = credential(TOKEN, { refreshToken: TOKEN, expiresInMs: 5 })
    const provider = new TokenProvider(() => made)
    const got = await provider.get()
    for (const value of [made, got, Object.assign({}, made), provider]) {
      expect(inspect(value, { depth: 9, showHidden: true, getters: true })).not.toContain(TOKEN)
      expect(JSON.stringify(value)).not.toContain(TOKEN)
    }
  })

  it('A17: a malformed token does not show in the error', async () => {
    const provider = new TokenProvider(() => credential(`${TOKEN} \u0001`))
    const error: unknown = await provider.get().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TokenCallbackError)
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(TOKEN)
    expect(JSON.stringify(error)).not.toContain(TOKEN)
    expect(provider.peek()).toBeUndefined()
  })
})
