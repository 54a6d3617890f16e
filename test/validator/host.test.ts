import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { VERSION } from '../../src/version.ts'
import type { ValidatorState } from '../../src/validator/contract.ts'
import { Turns } from '../../src/validator/turns.ts'
import { SHUTDOWN_TIMEOUT_MS, ValidatorFaultError } from '../../src/validator/validator-session.ts'
import {
  fixture,
  freshLife,
  gate,
  INPUT,
  inline,
  login,
  OPAQUE,
  open,
  piecesIn,
  readableLog,
  settle,
  TOKEN,
} from './support.ts'

const INTERNAL_ERROR = 'internal error in OAuth validator module'
const LATE = 'OAuth validator module answered too late, the answer is dropped'

beforeEach(() => {
  freshLife()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a module that misbehaves in validate', () => {
  const faults: readonly (readonly [string, string, string])[] = [
    ['throws-in-validate.js', 'threw', 'validate threw: TypeError: role ali is unknown'],
    ['throws-nonsense.js', 'threw', 'validate threw: something that is not an error'],
    ['returns-true.js', 'bad_result', 'validate returned true instead of a result'],
    ['returns-false.js', 'returned_false', 'validate returned false'],
    ['proxy-result.js', 'bad_result', 'reading the result threw: Error: a trap'],
    ['getter-throws.js', 'bad_result', 'reading the result threw: Error: not for [token]'],
    ['huge-authn-id.js', 'bad_authn_id', 'authnId is longer than 1024 bytes'],
    ['lone-surrogate.js', 'bad_authn_id', 'authnId has half of a surrogate pair'],
    ['control-character.js', 'bad_authn_id', 'authnId has a control character'],
    ['token-as-identity.js', 'bad_authn_id', 'authnId has the token in it'],
  ]

  test.each(faults)('%s: the login fails, the log says why', async (file, reason, detail) => {
    const readable = readableLog()
    const loaded = await fixture(file)
    const outcome = await login(loaded, {}, readable.log)
    expect(outcome).toMatchObject({ kind: 'internal_error', reason })
    expect((outcome as { logDetail: string }).logDetail).toContain(detail)
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([
      {
        level: 'warning',
        validator: `./${file}`,
        connection: 'c7',
        phase: 'validate',
        reason,
        detail: expect.stringContaining(detail),
        sqlState: 'XX000',
      },
    ])
    expect(piecesIn(readable.text(), TOKEN)).toEqual([])
  })

  test('does not get a better answer for giving another one later', async () => {
    expect(await login(await fixture('changes-its-answer.js'))).toMatchObject({
      kind: 'decided',
      authorized: false,
      authnId: 'ali',
    })
    expect(await login(await fixture('resolves-twice.js'))).toMatchObject({
      kind: 'decided',
      authorized: false,
      authnId: 'first',
    })
  })

  test('cannot change its request, nor its state but for privateData', async () => {
    expect(await login(await fixture('mutates-its-request.js'))).toMatchObject({
      kind: 'decided',
      authorized: false,
      authnId: 'role scope database token hostVersion another',
    })
  })

  test('cannot say yes through Object.prototype', async () => {
    try {
      expect(await login(await fixture('pollutes-prototypes.js'))).toMatchObject({
        kind: 'internal_error',
        reason: 'bad_result',
      })
    } finally {
      Reflect.deleteProperty(Object.prototype, 'authorized')
      Reflect.deleteProperty(Object.prototype, 'authnId')
    }
  })

  test('does not disturb the next login', async () => {
    const validate = vi
      .fn<(state: ValidatorState) => unknown>()
      .mockImplementationOnce(() => {
        throw new Error('once')
      })
      .mockImplementation(() => ({ authorized: true, authnId: 'ali' }))
    const loaded = inline({ validate })
    expect(await login(loaded)).toMatchObject({ kind: 'internal_error' })
    expect(await login(loaded)).toMatchObject({ kind: 'decided', authorized: true })
  })
})

describe('the token', () => {
  test.each([TOKEN, OPAQUE])(
    'of a module that puts it everywhere is in no line: %s',
    async (token) => {
      const readable = readableLog()
      const loaded = await fixture('throws-the-token.js')
      const outcome = await login(loaded, { token }, readable.log)
      expect(outcome).toMatchObject({ kind: 'internal_error', reason: 'threw' })
      expect(piecesIn(JSON.stringify(outcome) + readable.text(), token)).toEqual([])
      expect(readable.lines.map((line) => line['msg'])).toEqual([
        'checking [token]',
        'token',
        'bytes',
        INTERNAL_ERROR,
        'forgetting [token]',
        INTERNAL_ERROR,
      ])
    },
  )

  test('of another connection that a module has kept is in no line', async () => {
    const readable = readableLog()
    const loaded = await fixture('keeps-the-token.js')
    await login(loaded, {}, readable.log)
    await login(loaded, { token: OPAQUE }, readable.log)
    expect(readable.with('before you there was [token]')).toHaveLength(1)
    expect(piecesIn(readable.text(), TOKEN)).toEqual([])
  })

  test('is not written by a module that logs its request and its state', async () => {
    const readable = readableLog()
    const outcome = await login(await fixture('logs-its-request.js'), {}, readable.log)
    expect(outcome).toMatchObject({ kind: 'decided', authorized: false, code: 'logged' })
    expect(readable.lines).toMatchObject([
      { msg: 'asked', fields: { request: { role: 'ali', issuer: 'https://idp.test' } } },
      { level: 'log' },
    ])
    expect(piecesIn(JSON.stringify(outcome) + readable.text(), TOKEN)).toEqual([])
  })

  test('is not written through the log of the init function while it is validated', async () => {
    const readable = readableLog()
    const answer = gate()
    freshLife({ init: answer.opens })
    const loaded = await fixture('logs-through-its-context.js', { log: readable.log })
    await Promise.all([login(loaded, { token: OPAQUE }), login(loaded, { token: OPAQUE })])
    expect(readable.with('introspecting [token]')).toHaveLength(2)
    expect(piecesIn(readable.text(), OPAQUE)).toEqual([])
    expect([...loaded.work.inFlight.tokens]).toEqual([])
  })

  test('is forgotten by the host when validate has settled', async () => {
    const loaded = inline({ validate: () => ({ authorized: false }) })
    const session = open(loaded)
    await session.startup()
    const answer = session.validate(INPUT)
    expect([...loaded.work.inFlight.tokens]).toEqual([TOKEN])
    expect(piecesIn(inspect([loaded, session], { depth: null, showHidden: true }), TOKEN)).toEqual(
      [],
    )
    await answer
    expect([...loaded.work.inFlight.tokens]).toEqual([])
    await session.shutdown()
  })
})

describe('the log of a module', () => {
  test('names the module and the connection, and keeps its fields apart', async () => {
    const readable = readableLog()
    const loaded = inline({
      validate: (state: ValidatorState) => {
        state.log.warning('tenant is closed', { level: 'fatal', validator: 'other', time: 1 })
        return { authorized: false }
      },
    })
    await login(loaded, {}, readable.log)
    expect(readable.with('tenant is closed')).toEqual([
      {
        level: 'warning',
        time: expect.any(String) as string,
        msg: 'tenant is closed',
        validator: 'inline',
        connection: 'c7',
        fields: { level: 'fatal', validator: 'other', time: 1 },
      },
    ])
  })

  test('takes anything for a message without failing', async () => {
    const readable = readableLog()
    const messages = [undefined, null, 7, Symbol('s'), new Error('an error'), {}, 'x\ny']
    const loaded = inline({
      validate: ({ log }: ValidatorState) => {
        for (const message of messages as string[]) {
          log.log(message)
        }
        return { authorized: true, authnId: 'ali' }
      },
    })
    expect(await login(loaded, {}, readable.log)).toMatchObject({ authorized: true })
    expect(readable.lines).toHaveLength(messages.length)
    expect(readable.text()).toContain('Error: an error')
    expect(readable.with('x\\u000ay')).toHaveLength(1)
  })
})

describe('silence past the deadline', () => {
  const deadline = (): { readonly signal: AbortSignal; readonly pass: () => void } => {
    const controller = new AbortController()
    return {
      signal: controller.signal,
      pass: () => controller.abort(new DOMException('too late', 'TimeoutError')),
    }
  }

  test('is an internal error, and shutdown runs', async () => {
    const life = freshLife()
    const readable = readableLog()
    const { signal, pass } = deadline()
    const session = open(await fixture('never-settles.js'), { log: readable.log, signal })
    await session.startup()
    const answer = session.validate(INPUT)
    pass()
    expect(await answer).toEqual({
      kind: 'internal_error',
      reason: 'timeout',
      logDetail: 'the deadline passed before validate had answered',
    })
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([{ reason: 'timeout' }])
    vi.useFakeTimers()
    const ended = session.shutdown()
    await vi.runAllTimersAsync()
    await ended
    expect(life).toEqual([['shutdown']])
  })

  test('makes a later yes count for nothing but one line in the log', async () => {
    const answer = gate()
    freshLife({ validate: answer.opens })
    const readable = readableLog()
    const { signal, pass } = deadline()
    const session = open(await fixture('resolves-late.js'), { log: readable.log, signal })
    await session.startup()
    const outcome = session.validate(INPUT)
    pass()
    expect(await outcome).toMatchObject({ kind: 'internal_error', reason: 'timeout' })
    answer.open()
    await settle()
    await session.shutdown()
    expect(readable.with(LATE)).toMatchObject([
      { level: 'log', phase: 'validate', validator: './resolves-late.js', connection: 'c7' },
    ])
  })

  test('makes a later rejection one line in the log, without the token', async () => {
    const answer = gate()
    freshLife({ validate: answer.opens })
    const readable = readableLog()
    const { signal, pass } = deadline()
    const session = open(await fixture('rejects-late.js'), { log: readable.log, signal })
    await session.startup()
    const outcome = session.validate({ ...INPUT, token: OPAQUE })
    pass()
    await outcome
    answer.open()
    await settle()
    expect(readable.with(LATE)).toMatchObject([
      { detail: expect.stringContaining('the directory does not know [token]') },
    ])
    expect(piecesIn(readable.text(), OPAQUE)).toEqual([])
    await session.shutdown()
  })

  test('is the end also when the answer comes in the same turn', async () => {
    const { signal, pass } = deadline()
    const loaded = inline({
      validate: () => {
        pass()
        return { authorized: true, authnId: 'ali' }
      },
    })
    const session = open(loaded, { signal })
    await session.startup()
    expect(await session.validate(INPUT)).toMatchObject({
      kind: 'internal_error',
      reason: 'timeout',
    })
    await session.shutdown()
  })

  test('is the end also when it passes while validate is being called, and nothing comes after', async () => {
    const { signal, pass } = deadline()
    const loaded = inline({
      validate: () => {
        pass()
        return new Promise(() => {})
      },
    })
    const session = open(loaded, { signal })
    await session.startup()
    expect(await session.validate(INPUT)).toMatchObject({ reason: 'timeout' })
    await session.shutdown()
  })

  test('is told to the module by its signal', async () => {
    const life = freshLife()
    const { signal, pass } = deadline()
    const session = open(await fixture('heeds-its-signal.js'), { signal })
    await session.startup()
    const answer = session.validate(INPUT)
    pass()
    expect(await answer).toMatchObject({ reason: 'timeout' })
    await session.shutdown()
    expect(life).toEqual([['aborted', 'TimeoutError'], ['shutdown']])
  })

  test('in startup fails the login', async () => {
    const { signal, pass } = deadline()
    const session = open(await fixture('startup-never-settles.js'), { signal })
    const started = session.startup()
    pass()
    await expect(started).rejects.toMatchObject({ code: 'ERR_VALIDATOR_FAULT', reason: 'timeout' })
    vi.useFakeTimers()
    const ended = session.shutdown()
    await vi.runAllTimersAsync()
    await ended
  })

  test('that has passed already runs nothing of the module', async () => {
    const life = freshLife()
    const session = open(await fixture('records-its-life.js'), {
      signal: AbortSignal.abort(new DOMException('too late', 'TimeoutError')),
    })
    await expect(session.startup()).rejects.toMatchObject({ reason: 'timeout' })
    await session.shutdown()
    expect(life).toEqual([])
  })
})

describe('the timeout of a module', () => {
  const silent = () => new Promise<never>(() => {})

  test('ends validate before the deadline of the login', async () => {
    const readable = readableLog()
    let signal: AbortSignal | undefined
    const loaded = inline(
      {
        validate: (state: ValidatorState) => {
          signal = state.signal
          return silent()
        },
      },
      'slow',
      { timeoutMs: 10 },
    )
    const session = open(loaded, { log: readable.log })
    await session.startup()
    expect(await session.validate(INPUT)).toMatchObject({
      kind: 'internal_error',
      reason: 'timeout',
    })
    expect(signal?.aborted).toBe(true)
    await session.shutdown()
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([{ validator: 'slow', reason: 'timeout' }])
  })

  test('ends startup as well', async () => {
    const session = open(inline({ startup: silent, validate: silent }, 'slow', { timeoutMs: 10 }))
    await expect(session.startup()).rejects.toMatchObject({ reason: 'timeout' })
  })

  test('does not run while validate is not running, and ends with it', async () => {
    vi.useFakeTimers()
    const loaded = inline({ validate: () => ({ authorized: true, authnId: 'ali' }) }, 'quick', {
      timeoutMs: 10,
    })
    const session = open(loaded)
    await session.startup()
    await vi.advanceTimersByTimeAsync(1000)
    expect(await session.validate(INPUT)).toMatchObject({ authorized: true })
    expect(vi.getTimerCount()).toBe(0)
    const ended = session.shutdown()
    await vi.runAllTimersAsync()
    await ended
  })
})

describe('more validations than a module may have', () => {
  const crowded = (maxRunning: number, maxWaiting: number) => {
    const answers: (() => void)[] = []
    const loaded = inline(
      {
        validate: (_state: ValidatorState, request: { role: string }) =>
          new Promise((resolve) => {
            answers.push(() => resolve({ authorized: true, authnId: request.role }))
          }),
      },
      'crowded',
      { turns: new Turns(maxRunning, maxWaiting) },
    )
    return { loaded, answers, turns: loaded.work.turns }
  }

  test('wait their turn, first come first served, and the rest fails at once', async () => {
    const { loaded, answers, turns } = crowded(1, 2)
    const readable = readableLog()
    const logins = ['a', 'b', 'c', 'd'].map((role) => login(loaded, { role }, readable.log))
    expect(await logins[3]).toMatchObject({
      kind: 'internal_error',
      reason: 'overloaded',
      logDetail: '1 validations are running and 2 are waiting',
    })
    for (const [turn, role] of ['a', 'b', 'c'].entries()) {
      await settle()
      expect(answers).toHaveLength(turn + 1)
      answers[turn]?.()
      expect(await logins[turn]).toMatchObject({ authorized: true, authnId: role })
    }
    expect([turns.running, turns.waiting]).toEqual([0, 0])
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([{ reason: 'overloaded' }])
  })

  test('leave the queue when their client leaves, without running', async () => {
    const { loaded, answers, turns } = crowded(1, 5)
    const first = login(loaded, { role: 'a' })
    await settle()
    const client = new AbortController()
    const second = open(loaded, { signal: client.signal })
    await second.startup()
    const outcome = second.validate(INPUT)
    const third = login(loaded, { role: 'c' })
    await settle()
    expect(turns.waiting).toBe(2)
    client.abort()
    expect(await outcome).toMatchObject({ reason: 'aborted' })
    expect(turns.waiting).toBe(1)
    answers[0]?.()
    await settle()
    answers[1]?.()
    expect(await first).toMatchObject({ authnId: 'a' })
    expect(await third).toMatchObject({ authnId: 'c' })
    await second.shutdown()
    expect([turns.running, turns.waiting, answers.length]).toEqual([0, 0, 2])
  })

  test('get the place of one that ignores its signal', async () => {
    const { loaded, answers, turns } = crowded(1, 1)
    const client = new AbortController()
    const stuck = open(loaded, { signal: client.signal })
    await stuck.startup()
    const outcome = stuck.validate(INPUT)
    await settle()
    vi.useFakeTimers()
    client.abort()
    expect(await outcome).toMatchObject({ reason: 'aborted' })
    expect(turns.running).toBe(1)
    await vi.runAllTimersAsync()
    expect(turns.running).toBe(0)
    vi.useRealTimers()
    answers[0]?.()
    await settle()
    expect(turns.running).toBe(0)
    await stuck.shutdown()
  })

  test('cannot be forbidden altogether', () => {
    expect(() => new Turns(0, 1)).toThrow(TypeError)
    expect(() => new Turns(1, -1)).toThrow(TypeError)
    expect(() => new Turns(Number.NaN, 1)).toThrow(TypeError)
  })
})

describe('a client that leaves', () => {
  test('during validate gets no answer and leaves no warning', async () => {
    const life = freshLife()
    const readable = readableLog()
    const client = new AbortController()
    const session = open(await fixture('heeds-its-signal.js'), {
      log: readable.log,
      signal: client.signal,
    })
    await session.startup()
    const answer = session.validate(INPUT)
    client.abort()
    expect(await answer).toMatchObject({ kind: 'internal_error', reason: 'aborted' })
    await session.shutdown()
    expect(life).toEqual([['aborted', 'AbortError'], ['shutdown']])
    expect(readable.lines.filter((line) => line['level'] !== 'debug')).toEqual([])
  })

  test('during startup has its shutdown when startup has settled, once', async () => {
    const start = gate()
    const life = freshLife({ startup: start.opens })
    const session = open(await fixture('records-its-life.js'))
    const started = session.startup()
    const ended = session.shutdown()
    await expect(started).rejects.toMatchObject({ reason: 'aborted' })
    await settle()
    expect(life.map(([event]) => event)).toEqual(['startup'])
    start.open()
    await Promise.all([ended, session.shutdown()])
    expect(life).toEqual([
      ['startup', { opened: 0 }],
      ['shutdown', { opened: 0 }],
    ])
  })

  test('during a startup that fails later has no shutdown', async () => {
    const life = freshLife()
    let fail = (_error: Error): void => {}
    const loaded = inline({
      startup: () =>
        new Promise((_resolve, reject) => {
          fail = reject
        }),
      validate: () => ({ authorized: false }),
      shutdown: () => life.push(['shutdown']),
    })
    const session = open(loaded)
    const started = session.startup()
    const ended = session.shutdown()
    await expect(started).rejects.toBeInstanceOf(ValidatorFaultError)
    fail(new Error('no'))
    await ended
    await settle()
    expect(life).toEqual([])
  })

  test('does not wait for a startup that never settles', async () => {
    const life = freshLife()
    const readable = readableLog()
    const session = open(await fixture('startup-never-settles.js'), { log: readable.log })
    const started = session.startup()
    vi.useFakeTimers()
    const ended = session.shutdown()
    await expect(started).rejects.toMatchObject({ reason: 'aborted' })
    await vi.advanceTimersByTimeAsync(SHUTDOWN_TIMEOUT_MS)
    await ended
    expect(life).toEqual([])
    expect(readable.with('OAuth validator module did not shut down in time')).toHaveLength(1)
  })

  test('gets its shutdown even when startup settles after nobody waits any more', async () => {
    const start = gate()
    const life = freshLife({ startup: start.opens })
    const session = open(await fixture('records-its-life.js'))
    const started = session.startup()
    vi.useFakeTimers()
    const ended = session.shutdown()
    await expect(started).rejects.toMatchObject({ reason: 'aborted' })
    await vi.advanceTimersByTimeAsync(SHUTDOWN_TIMEOUT_MS)
    await ended
    start.open()
    await vi.runAllTimersAsync()
    expect(life.map(([event]) => event)).toEqual(['startup', 'shutdown'])
  })

  test('before its first message has neither startup nor shutdown', async () => {
    const life = freshLife()
    const session = open(await fixture('records-its-life.js'))
    await session.shutdown()
    expect(life).toEqual([])
    await expect(session.startup()).rejects.toMatchObject({ reason: 'aborted' })
    expect(await session.validate(INPUT)).toMatchObject({ reason: 'aborted' })
    expect(life).toEqual([])
  })

  test('lets go of the signal of its connection', async () => {
    const { signal } = new AbortController()
    const added = vi.spyOn(signal, 'addEventListener')
    const removed = vi.spyOn(signal, 'removeEventListener')
    const session = open(await fixture('records-its-life.js'), { signal })
    await session.startup()
    await session.shutdown()
    expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(
      added.mock.calls.map(([, listener]) => listener),
    )
  })
})

describe('startup', () => {
  test('that throws fails the login, without shutdown', async () => {
    const life = freshLife()
    const readable = readableLog()
    const session = open(await fixture('throws-in-startup.js'), { log: readable.log })
    await expect(session.startup()).rejects.toMatchObject({
      code: 'ERR_VALIDATOR_FAULT',
      message: INTERNAL_ERROR,
      validator: './throws-in-startup.js',
      reason: 'threw',
      logDetail: expect.stringContaining('startup threw: Error: no connection to the key store'),
    })
    await expect(session.validate(INPUT)).rejects.toThrow(TypeError)
    await session.shutdown()
    expect(life).toEqual([])
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([{ phase: 'startup', reason: 'threw' }])
  })

  test('may be absent, and shutdown still runs', async () => {
    const shutdown = vi.fn<() => void>()
    await login(inline({ validate: () => ({ authorized: false }), shutdown }))
    expect(shutdown).toHaveBeenCalledTimes(1)
  })

  test('runs once, and before validate', async () => {
    const session = open(inline({ validate: () => ({ authorized: true, authnId: 'ali' }) }))
    await expect(session.validate(INPUT)).rejects.toThrow(
      'a validator session that is new cannot be validating',
    )
    await session.startup()
    await expect(session.startup()).rejects.toThrow(TypeError)
    expect(await session.validate(INPUT)).toMatchObject({ authorized: true })
    await expect(session.validate(INPUT)).rejects.toThrow(TypeError)
    await session.shutdown()
  })
})

describe('shutdown', () => {
  test('runs exactly once for every startup that succeeded', async () => {
    const life = freshLife()
    const loaded = await fixture('records-its-life.js')
    const discovery = open(loaded)
    await discovery.startup()
    await Promise.all([discovery.shutdown(), discovery.shutdown()])
    await discovery.shutdown()
    await login(loaded)
    expect(life.map(([event]) => event)).toEqual([
      'startup',
      'shutdown',
      'startup',
      'validate',
      'shutdown',
    ])
  })

  test('that throws is logged and changes nothing', async () => {
    const readable = readableLog()
    expect(await login(await fixture('throws-in-shutdown.js'), {}, readable.log)).toMatchObject({
      kind: 'decided',
      authorized: true,
    })
    expect(readable.with(INTERNAL_ERROR)).toMatchObject([
      { phase: 'shutdown', detail: expect.stringContaining('the pool is gone') },
    ])
  })

  test('that never settles is not waited for longer than agreed', async () => {
    freshLife({ shutdown: new Promise(() => {}) })
    const readable = readableLog()
    const session = open(await fixture('records-its-life.js'), { log: readable.log })
    await session.startup()
    vi.useFakeTimers()
    const ended = session.shutdown()
    await vi.advanceTimersByTimeAsync(SHUTDOWN_TIMEOUT_MS)
    await ended
    expect(readable.with('OAuth validator module did not shut down in time')).toMatchObject([
      { validator: './records-its-life.js', connection: 'c7' },
    ])
  })

  test('waits for a validate that is giving up', async () => {
    const answer = gate()
    const life = freshLife({ validate: answer.opens })
    const session = open(await fixture('records-its-life.js'))
    await session.startup()
    const outcome = session.validate(INPUT)
    await settle()
    const ended = session.shutdown()
    expect(await outcome).toMatchObject({ kind: 'internal_error', reason: 'aborted' })
    await settle()
    expect(life.map(([event]) => event)).toEqual(['startup', 'validate'])
    answer.open()
    await ended
    expect(life.map(([event]) => event)).toEqual(['startup', 'validate', 'shutdown'])
  })
})

describe('the state of a connection', () => {
  test('is its own, and the same in every callback', async () => {
    const states: ValidatorState[] = []
    const note = (state: ValidatorState): void => {
      states.push(state)
    }
    const loaded = inline({
      startup: (state: ValidatorState) => {
        state.privateData = states.length
        note(state)
      },
      validate: (state: ValidatorState) => {
        note(state)
        return { authorized: false, authnId: String(state.privateData) }
      },
      shutdown: note,
    })
    expect(await login(loaded)).toMatchObject({ authnId: '0' })
    expect(await login(loaded)).toMatchObject({ authnId: '3' })
    expect(new Set(states).size).toBe(2)
    expect(states[0]).toBe(states[2])
    expect(states[3]).toBe(states[5])
  })

  test('has the version of the host, and privateData that is undefined at first', async () => {
    const seen: unknown[] = []
    const startup = (state: ValidatorState): void => {
      seen.push(state.hostVersion, state.privateData, state.signal.aborted)
    }
    await login(inline({ startup, validate: () => false }))
    expect(seen).toEqual([VERSION, undefined, false])
  })

  test('has a signal that is aborted when the connection has ended', async () => {
    let signal: AbortSignal | undefined
    const loaded = inline({
      validate: (state: ValidatorState) => {
        signal = state.signal
        return { authorized: true, authnId: 'ali' }
      },
    })
    const session = open(loaded)
    await session.startup()
    await session.validate(INPUT)
    expect(signal?.aborted).toBe(false)
    await session.shutdown()
    expect(signal?.aborted).toBe(true)
  })
})
