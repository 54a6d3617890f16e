/** The key-set manager against a server that counts, rotates, dies and lies (spec §7.2, KEY-09 to KEY-11). */
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it, vi } from 'vitest'
import jwt from '../../validators/jwt.ts'
import { AuthorizationServer, json } from './support/authorization-server.ts'
import { SETTINGS } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'
import { signingKey } from './support/signing-key.ts'

const start = (
  server: AuthorizationServer,
  settings: Record<string, unknown> = {},
): Promise<Runner> =>
  startValidator({ init: jwt, settings: { ...SETTINGS, ...settings }, issuers: [server.issuer] })

/** Only what the validators read: sockets keep their own time. */
function stopClock(): void {
  vi.useFakeTimers({ toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] })
}

/** Lets `ms` pass for caches and claims, with the timers that fall into it. */
async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
}

/** Waits for real I/O that nobody awaits, such as a refresh in the background. */
async function until(condition: () => boolean): Promise<void> {
  await turns(10_000, condition)
  expect(condition()).toBe(true)
}

/** Enough for a request to this machine to arrive and be answered, if one was made. */
async function quiet(): Promise<void> {
  await turns(40, () => false)
}

/** Real time: `hrtime` goes on while the clock stands. */
async function turns(ms: number, condition: () => boolean): Promise<void> {
  const end = process.hrtime.bigint() + BigInt(ms) * 1_000_000n
  while (process.hrtime.bigint() < end && !condition()) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

afterEach(() => {
  vi.useRealTimers()
})

describe('keys are there before they are needed', () => {
  it('shares one fetch among a hundred logins on a cold start', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'off' })
    expect(server.total).toBe(0)
    const logins = Array.from({ length: 100 }, () => runner.run(server.token()))
    expect((await Promise.all(logins)).every(({ authorized }) => authorized)).toBe(true)
    expect(server.count('/jwks')).toBe(1)
  })

  it('fetches nothing on the login path once they are there', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    const before = server.total
    for (let i = 0; i < 50; i += 1) {
      expect((await runner.run(server.token())).authorized).toBe(true)
    }
    expect(server.total).toBe(before)
  })

  it('does not start without them where they are required', async () => {
    await using server = await AuthorizationServer.start()
    server.fail()
    await expect(start(server, { prefetch: 'required' })).rejects.toThrow('status 503')
  })

  it('does not start with fixed keys that cannot verify anything', async () => {
    await using server = await AuthorizationServer.start()
    await expect(start(server, { jwks: { keys: [] } })).rejects.toThrow('no key')
    await expect(start(server, { jwks: { keys: 'x' } })).rejects.toThrow('no "keys"')
  })

  it('are kept through a reload, and dropped with the last user', async () => {
    await using server = await AuthorizationServer.start()
    const first = await start(server, { prefetch: 'required' })
    const second = await start(server, { prefetch: 'required', clock_tolerance: '10s' })
    expect(server.count('/jwks')).toBe(1)
    await first[Symbol.asyncDispose]()
    expect((await second.run(server.token())).authorized).toBe(true)
    expect(server.count('/jwks')).toBe(1)
    await second[Symbol.asyncDispose]()
    await using third = await start(server, { prefetch: 'required' })
    expect((await third.run(server.token())).authorized).toBe(true)
    expect(server.count('/jwks')).toBe(2)
  })

  it('are not shared with a module that trusts another authority', async () => {
    await using server = await AuthorizationServer.start()
    await using first = await start(server, { prefetch: 'required' })
    await using second = await start(server, { http: { egress: 'any' } })
    expect((await first.run(server.token())).authorized).toBe(true)
    await expect(second.run(server.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
  })
})

describe('KEY-09: tokens with invented key ids', () => {
  it('cause one fetch in ten seconds, however many there are', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    stopClock()
    const before = server.count('/jwks')
    for (let second = 0; second < 30; second += 1) {
      const flood = Array.from({ length: 100 }, (_, i) =>
        runner.run(server.token({}, { kid: `invented-${second}-${i}` })),
      )
      for (const result of await Promise.all(flood)) {
        expect(result).toMatchObject({ authorized: false, code: 'no_matching_key' })
      }
      await pass(1_000)
    }
    expect(server.count('/jwks') - before).toBe(3)
    expect(server.count('openid-configuration')).toBe(1)
  })

  it('do not keep others out', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    const flood = Array.from({ length: 500 }, (_, i) =>
      runner.run(server.token({}, { kid: `invented-${i}` })),
    )
    expect((await runner.run(server.token())).authorized).toBe(true)
    await Promise.all(flood)
  })

  it('are not asked about twice in a minute', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, {
      prefetch: 'required',
      keys: { unknown_kid_burst: 10, unknown_kid_interval: '1s' },
    })
    const before = server.count('/jwks')
    for (let i = 0; i < 10; i += 1) {
      await runner.run(server.token({}, { kid: 'invented' }))
    }
    expect(server.count('/jwks') - before).toBe(1)
  })

  it('cause no fetch where the signature is wrong for a known key', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    const before = server.total
    const token = server.token()
    for (let i = 0; i < 20; i += 1) {
      const [header, payload] = token.split('.')
      const forged = `${header}.${payload}.${Buffer.alloc(64, i + 1).toString('base64url')}`
      expect(await runner.run(forged)).toMatchObject({ code: 'bad_signature' })
    }
    expect(server.total).toBe(before)
  })
})

describe('KEY-10: rotation', () => {
  it('lets the first token of a new key in, within the same login', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    server.rotate('k2')
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(server.count('/jwks')).toBe(2)
  })

  it('refuses the old key when it is gone, also for a token that was remembered', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    const old = server.token()
    expect((await runner.run(old)).authorized).toBe(true)
    server.rotate('k2', { dropOld: true })
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(await runner.run(old)).toMatchObject({ code: 'no_matching_key' })
  })

  it('notices a removed key within five minutes without any unknown key id', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required' })
    const old = server.token({ exp: Math.floor(Date.now() / 1000) + 3_600 })
    expect((await runner.run(old)).authorized).toBe(true)
    server.rotate('k2', { dropOld: true })
    await pass(300_000)
    await until(() => server.count('/jwks') === 2)
    await quiet()
    expect(await runner.run(old)).toMatchObject({ code: 'no_matching_key' })
  })

  it('takes an empty set at its word', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    const token = server.token()
    server.jwks = { keys: [] }
    await runner.run(server.token({}, { kid: 'invented' }))
    expect(await runner.run(token)).toMatchObject({ code: 'no_matching_key' })
  })
})

describe('an outage', () => {
  it('of a provider that was never there costs one request in each step of the back-off', async () => {
    await using server = await AuthorizationServer.start()
    server.fail()
    stopClock()
    await using runner = await start(server, { prefetch: 'off' })
    const logins = Array.from({ length: 20 }, () => runner.run(server.token()))
    for (const login of await Promise.allSettled(logins)) {
      expect(login).toMatchObject({ status: 'rejected', reason: { code: 'provider_unavailable' } })
    }
    expect(server.total).toBe(1)
    for (let i = 0; i < 20; i += 1) {
      await expect(runner.run(server.token())).rejects.toMatchObject({
        code: 'provider_unavailable',
      })
    }
    expect(server.total).toBe(1)
  })

  it('backs off to a minute, and is over with the first answer', async () => {
    await using server = await AuthorizationServer.start()
    server.fail()
    stopClock()
    vi.spyOn(Math, 'random').mockReturnValue(1)
    await using runner = await start(server, { prefetch: 'off' })
    const times: number[] = []
    const began = performance.now()
    for (let second = 0; second < 300; second += 1) {
      const before = server.total
      await runner.run(server.token()).catch(() => undefined)
      await turns(5, () => false)
      if (server.total > before) {
        times.push(Math.round((performance.now() - began) / 1_000))
      }
      await pass(1_000)
    }
    vi.restoreAllMocks()
    expect(times.length).toBeLessThanOrEqual(10)
    expect(times.slice(0, 2)).toEqual([0, 1])
    server.recover()
    await pass(60_000)
    await until(() => server.count('/jwks') === 1)
    await quiet()
    expect((await runner.run(server.token())).authorized).toBe(true)
  })

  it('does not stop logins for an hour, and does then', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required' })
    server.fail()
    for (let minute = 0; minute < 59; minute += 1) {
      await pass(60_000)
      expect((await runner.run(server.token())).authorized).toBe(true)
    }
    await pass(2 * 60_000)
    await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'provider_unavailable' })
    // An hour of minutes at the most, and the steps before that.
    expect(server.total).toBeLessThan(150)
  })

  it('does not let a remembered token in once the keys are dead', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required', keys: { stale_until: 0 } })
    const token = server.token()
    server.fail()
    await pass(270_000)
    expect((await runner.run(token)).authorized).toBe(true)
    await pass(31_000)
    await quiet()
    await expect(runner.run(token)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  it('is noticed to be over without any login', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required' })
    server.fail()
    for (let minute = 0; minute < 10; minute += 1) {
      await pass(60_000)
      await quiet()
    }
    server.recover()
    server.rotate('k2', { dropOld: true })
    await pass(60_000)
    await until(() => runner.lines.join('\n').includes('are available again'))
    const before = server.total
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(server.total).toBe(before)
  })

  it('of an issuer that nobody logs in with is left alone after an hour', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required' })
    server.fail()
    for (let minute = 0; minute < 90; minute += 1) {
      await pass(60_000)
      await turns(10, () => false)
    }
    const asked = server.total
    expect(asked).toBeGreaterThan(20)
    for (let minute = 0; minute < 30; minute += 1) {
      await pass(60_000)
      await turns(10, () => false)
    }
    expect(server.total).toBe(asked)
    server.recover()
    expect((await runner.run(server.token())).authorized).toBe(true)
  })

  it('is in the log with what is kept', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { prefetch: 'required' })
    server.fail()
    await runner.run(server.token({}, { kid: 'invented' }))
    expect(runner.lines.join('\n')).toContain('status 503')
    expect(runner.lines.join('\n')).toContain('"keys":"kept"')
  })
})

describe('Cache-Control', () => {
  const rows = [
    ['no-store', 60],
    ['no-cache, must-revalidate', 60],
    ['max-age=5', 60],
    ['max-age=600', 600],
    ['max-age=999999', 3_600],
    ['private', 300],
  ] as const
  for (const [value, seconds] of rows) {
    it(`of "${value}" renews the keys after ${seconds} s`, async () => {
      await using server = await AuthorizationServer.start()
      server.overrides.set('/jwks', (_request, response) => {
        response.setHeader('cache-control', value)
        json(response, server.jwks)
      })
      stopClock()
      await using runner = await start(server, { prefetch: 'required' })
      // No sooner than the renewal ahead of time, with its spread.
      await pass((seconds - 30) * 900 - 100)
      await quiet()
      expect((await runner.run(server.token())).authorized).toBe(true)
      expect(server.count('/jwks')).toBe(1)
      await pass((seconds - 30) * 200 + 200)
      await until(() => server.count('/jwks') === 2)
    })
  }

  it('stops being obeyed when nobody logs in for an hour', async () => {
    await using server = await AuthorizationServer.start()
    stopClock()
    await using runner = await start(server, { prefetch: 'required' })
    for (let minute = 0; minute < 180; minute += 1) {
      await pass(60_000)
      await turns(5, () => false)
    }
    const afterHour = server.count('/jwks')
    expect(afterHour).toBeLessThan(18)
    expect((await runner.run(server.token())).authorized).toBe(true)
  })
})

describe('KEY-11: answers that are none', () => {
  const lies: Record<string, (server: AuthorizationServer) => void> = {
    'a redirect': (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(301, { location: `${server.issuer}/other` }).end()
      }),
    'a redirect to http': (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(302, { location: 'http://127.0.0.1/jwks' }).end()
      }),
    'status 500': (server) =>
      server.overrides.set('/jwks', (_request, response) => response.writeHead(500).end()),
    'status 204': (server) =>
      server.overrides.set('/jwks', (_request, response) => response.writeHead(204).end()),
    HTML: (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>{"keys":[]}</html>')
      }),
    'JSON without a type': (server) =>
      server.overrides.set('/jwks', (_request, response) =>
        response.end(JSON.stringify(server.jwks)),
      ),
    'broken JSON': (server) => raw(server, '{"keys":['),
    'a duplicate member': (server) => raw(server, '{"keys":[],"keys":[]}'),
    'an empty object': (server) => raw(server, '{}'),
    'a list': (server) => raw(server, '[]'),
    'keys that are no list': (server) => raw(server, '{"keys":{}}'),
    'too many keys': (server) => {
      server.jwks = {
        keys: Array.from({ length: 65 }, (_, i) => ({ ...server.key.jwk, kid: `k${i}` })),
      }
    },
    'a length above the limit': (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(200, {
          'content-type': 'application/json',
          'content-length': '20000000',
        })
        response.write('{"keys":[')
      }),
    'a body above the limit': (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(`{"keys":[],"x":"${'y'.repeat(20_000_000)}"}`)
      }),
    'a compressed body': (server) =>
      server.overrides.set('/jwks', (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
        response.end(gzipSync(`{"keys":[],"x":"${' '.repeat(1_000_000)}"}`))
      }),
    'a closed connection': (server) =>
      server.overrides.set('/jwks', (request) => request.socket.destroy()),
    'half an answer': (server) =>
      server.overrides.set('/jwks', (request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
        response.write('{"keys":', () => request.socket.destroy())
      }),
    'metadata of another issuer': (server) => {
      server.metadata = { ...server.metadata, issuer: 'https://evil.example' }
    },
    'metadata with a slash more': (server) => {
      server.metadata = { ...server.metadata, issuer: `${server.issuer}/` }
    },
    'metadata without a key set': (server) => {
      server.metadata = { issuer: server.issuer }
    },
    'a key set on another host': (server) => {
      server.metadata = { ...server.metadata, jwks_uri: 'https://evil.example/jwks' }
    },
    'a key set on another port': (server) => {
      server.metadata = { ...server.metadata, jwks_uri: 'https://127.0.0.1:1/jwks' }
    },
    'a key set over http': (server) => {
      server.metadata = { ...server.metadata, jwks_uri: server.issuer.replace('https', 'http') }
    },
    'a key set in a file': (server) => {
      server.metadata = { ...server.metadata, jwks_uri: 'file:///etc/passwd' }
    },
    'a key set behind a user name': (server) => {
      server.metadata = {
        ...server.metadata,
        jwks_uri: `${server.issuer.replace('//', '//x:y@')}/jwks`,
      }
    },
    'a key set that is no text': (server) => {
      server.metadata = { ...server.metadata, jwks_uri: { href: `${server.issuer}/jwks` } }
    },
  }

  for (const [name, lie] of Object.entries(lies)) {
    it(`${name} lets nobody in, and nobody out who is in`, async () => {
      await using server = await AuthorizationServer.start()
      await using warm = await start(server, { prefetch: 'required' })
      lie(server)
      expect(await warm.run(server.token({}, { kid: 'invented' }))).toMatchObject({
        authorized: false,
      })
      expect((await warm.run(server.token())).authorized).toBe(true)
      await using cold = await start(server, { prefetch: 'off', keys: { refresh_after: '299s' } })
      await expect(cold.run(server.token())).rejects.toMatchObject({
        code: expect.stringMatching(/^provider_(unavailable|bad_response)$/) as string,
      })
      expect(server.count('/other')).toBe(0)
    })
  }

  it('a server that sends a byte now and then is given up', async () => {
    await using server = await AuthorizationServer.start()
    const timers: NodeJS.Timeout[] = []
    server.overrides.set('/jwks', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      timers.push(setInterval(() => response.write(' '), 10))
    })
    await using runner = await start(server, {
      prefetch: 'off',
      http: { ...SETTINGS.http, timeout: '200ms' },
    })
    await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'timeout' })
    timers.forEach(clearInterval)
  })

  it('a server that does not answer at all is given up', async () => {
    await using server = await AuthorizationServer.start()
    server.overrides.set('', () => undefined)
    await using runner = await start(server, {
      prefetch: 'off',
      http: { ...SETTINGS.http, timeout: '100ms' },
    })
    await expect(runner.run(server.token())).rejects.toMatchObject({ code: 'timeout' })
  })

  it('a client that leaves does not wait, and the fetch goes on for the next', async () => {
    await using server = await AuthorizationServer.start()
    let answer = (): void => undefined
    server.overrides.set('/jwks', (_request, response) => {
      answer = () => json(response, server.jwks)
    })
    await using runner = await start(server, { prefetch: 'off' })
    const leaving = new AbortController()
    const first = runner.run(server.token(), { signal: leaving.signal })
    await until(() => server.count('/jwks') === 1)
    leaving.abort(new Error('the client left'))
    await expect(first).rejects.toThrow('the client left')
    const second = runner.run(server.token())
    answer()
    expect((await second).authorized).toBe(true)
    expect(server.count('/jwks')).toBe(1)
  })

  function raw(server: AuthorizationServer, text: string): void {
    server.overrides.set('/jwks', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    })
  }
})

describe('other places for keys', () => {
  it('an address in the settings is asked without discovery', async () => {
    await using server = await AuthorizationServer.start()
    await using runner = await start(server, { jwks_uri: `${server.issuer}/jwks` })
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(server.count('openid-configuration')).toBe(0)
  })

  it('a file is read again when it changed', async () => {
    await using server = await AuthorizationServer.start()
    const { writeFile } = await import('node:fs/promises')
    await using runner = await startValidator({
      init: jwt,
      settings: { ...SETTINGS, jwks_file: 'keys.json' },
      issuers: [server.issuer],
      files: { 'keys.json': JSON.stringify(server.jwks) },
    })
    expect((await runner.run(server.token())).authorized).toBe(true)
    server.rotate('k2')
    await writeFile(`${runner.directory}/keys.json`, JSON.stringify(server.jwks))
    expect((await runner.run(server.token())).authorized).toBe(true)
    expect(server.total).toBe(0)
  })

  it('a PEM file is a key for one algorithm', async () => {
    await using server = await AuthorizationServer.start()
    const key = signingKey('ES256', 'k1')
    const settings = {
      ...SETTINGS,
      public_keys: [{ file: 'key.pem', alg: 'ES256', kid: 'k1' }],
    }
    const files = { 'key.pem': key.publicKey.export({ type: 'spki', format: 'pem' }).toString() }
    await using runner = await startValidator({
      init: jwt,
      settings,
      issuers: [server.issuer],
      files,
    })
    server.key = key
    expect((await runner.run(server.token())).authorized).toBe(true)
    const secret = { 'key.pem': key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
    await expect(
      startValidator({ init: jwt, settings, issuers: [server.issuer], files: secret }),
    ).rejects.toThrow('private key')
  })

  it('keys in the settings are for one issuer only', async () => {
    await using server = await AuthorizationServer.start()
    await expect(
      startValidator({
        init: jwt,
        settings: { ...SETTINGS, jwks: server.jwks },
        issuers: [server.issuer, 'https://other.example'],
      }),
    ).rejects.toThrow('belong to one issuer')
  })

  it('only one place can be named', async () => {
    await using server = await AuthorizationServer.start()
    await expect(
      start(server, { jwks: server.jwks, jwks_uri: `${server.issuer}/jwks` }),
    ).rejects.toThrow('only one of')
  })
})
