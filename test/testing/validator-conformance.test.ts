import { createHmac } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { ConformanceOptions } from '../../src/testing/index.ts'
import { conformanceCases, validatorConformance } from '../../src/testing/index.ts'
import type {
  Awaitable,
  ValidationRequest,
  ValidatorContext,
  ValidatorInit,
  ValidatorResult,
} from '../../src/validator/contract.ts'

type Answer = () => Awaitable<ValidatorResult | false>

const { default: init } = (await import(
  new URL('../fixtures/validators/sealed-tokens.js', import.meta.url).href
)) as { readonly default: ValidatorInit }

const KEY = 'of this test alone'
const GOOD = {
  iss: 'https://idp.test',
  aud: 'db',
  sub: 'ali',
  scope: 'login other',
  exp: 4_000_000_000,
  roles: ['ali', 'reports'],
}

function seal(claims: object, key = KEY): string {
  const body = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`
}

function about(flaw?: string): ConformanceOptions {
  return {
    settings: { key: KEY, audience: 'db', ...(flaw === undefined ? {} : { flaw }) },
    issuer: 'https://idp.test',
    scope: 'login',
    goodToken: () => seal(GOOD),
    role: 'ali',
    authnId: 'ali',
    refused: {
      forged: () => seal(GOOD, 'another key'),
      expired: () => seal({ ...GOOD, exp: 1 }),
      otherIssuer: () => seal({ ...GOOD, iss: 'https://idp.test/' }),
      otherAudience: () => seal({ ...GOOD, aud: 'db2' }),
      insufficientScope: () => seal({ ...GOOD, scope: 'log in' }),
      withoutIdentity: () => seal({ ...GOOD, sub: undefined }),
    },
    alsoRefused: { 'a token whose subject is a list': () => seal({ ...GOOD, sub: ['ali'] }) },
    delegation: { foreignRole: 'postgres' },
  }
}

async function failuresOf(
  flaw?: string,
  change: Partial<ConformanceOptions> = {},
): Promise<string[]> {
  const failed: string[] = []
  for (const { name, run } of conformanceCases(init, { ...about(flaw), ...change })) {
    await run().catch(() => failed.push(name))
  }
  return failed
}

describe('a sound module', () => {
  validatorConformance(init, { test, ...about() })
})

describe('the conformance kit', () => {
  afterEach(() => {
    Reflect.deleteProperty(Array.prototype, 'pgbearerFlaw')
    vi.restoreAllMocks()
  })

  const everywhere = ['accepts the good token, and says whose it is and when it expires']
  const hostile =
    'refuses what is made from the good token, and nonsense, by a decision and not by an error'
  const flaws: readonly (readonly [string, readonly string[]])[] = [
    [
      'no signature',
      [
        hostile,
        'refuses a token that its issuer did not issue',
        'keeps connections apart that are there at the same time',
      ],
    ],
    ['no issuer', ['refuses a token of another issuer']],
    ['no audience', ['refuses a token for another audience']],
    ['no expiry', ['refuses a token that has expired']],
    ['no scope', ['refuses a token without the scope that is needed']],
    [
      'makes identities up',
      ['has no identity for a token that has none', 'refuses a token whose subject is a list'],
    ],
    [
      'believes the role',
      ['takes the identity from the token and never from the role that is asked for'],
    ],
    ['delegates to anybody', ['decides about the role itself under delegation']],
    ['keeps state for all', ['keeps connections apart that are there at the same time']],
    ['cannot be disposed of', ['lets go of what it holds, in time']],
    ['logs the token', everywhere],
    ['prints the token', everywhere],
    ['details the token', everywhere],
    ['leaves a rejection', everywhere],
    ['changes a prototype', everywhere],
  ]

  test.each(flaws)('finds a module that has the flaw "%s"', async (flaw, cases) => {
    vi.spyOn(console, 'log').mockImplementation(() => {})
    const failed = await failuresOf(flaw)
    if (cases === everywhere) {
      expect(failed).toContain(everywhere[0])
      return
    }
    expect(failed).toEqual(cases)
  })

  test('finds a module that cannot be loaded', async () => {
    const { length } = conformanceCases(init, about())
    const broken: ValidatorInit = () => {
      throw new Error('no key')
    }
    const failed: string[] = []
    for (const { name, run } of conformanceCases(broken, about())) {
      await run().catch(() => failed.push(name))
    }
    expect(failed).toHaveLength(length)
  })

  test('finds a module that answers nothing', async () => {
    const silent: ValidatorInit = () => ({ apiVersion: 1, validate: () => new Promise(() => {}) })
    const [first] = conformanceCases(silent, { ...about(), timeoutMs: 30 })
    await expect(first?.run()).rejects.toThrow('internal error, timeout')
  })

  test('finds a module that says another name than the kit was told', async () => {
    expect(await failuresOf(undefined, { authnId: 'bob' })).toContain(everywhere[0])
    expect(await failuresOf(undefined, { authnId: null })).toContain(everywhere[0])
  })

  test('finds a module that delegates although it says that it does not', async () => {
    expect(await failuresOf(undefined, { delegation: 'refused' })).toEqual([
      'refuses delegation, which it does not support',
    ])
  })

  /** The sound module, asked through `change`. */
  const wrapped =
    (change: (request: ValidationRequest<unknown>, answer: Answer) => Answer): ValidatorInit =>
    async (settings, context) => {
      const sound = await init(settings, context)
      return {
        ...sound,
        validate: (state, request) => change(request, () => sound.validate(state, request))(),
      }
    }
  const failuresOfModule = async (
    module: ValidatorInit,
    change: Partial<ConformanceOptions> = {},
  ): Promise<string[]> => {
    const failed: string[] = []
    for (const { name, run } of conformanceCases(module, { ...about(), ...change })) {
      await run().catch(() => failed.push(name))
    }
    return failed
  }

  test('does not take the end of a sentence for a token that is a full stop', async () => {
    const talking = wrapped((_request, answer) => async () => {
      const result = await answer()
      return result !== false && !result.authorized ? { ...result, errorDetail: 'No.' } : result
    })
    expect(await failuresOfModule(talking)).toEqual([])
  })

  test('takes an error for a refusal of delegation, and no yes', async () => {
    const strict = wrapped((request, answer) => () => {
      if (request.delegateIdentMapping) {
        throw new Error('config_mismatch')
      }
      return answer()
    })
    expect(await failuresOfModule(strict, { delegation: 'refused' })).toEqual([])
    expect(await failuresOfModule(strict)).toEqual([
      'decides about the role itself under delegation',
    ])
  })

  test('tells the module of its rules, each with its options', async () => {
    const told: ValidatorContext['rules'][] = []
    const curious: ValidatorInit = (settings, context) => {
      told.push(context.rules)
      return init(settings, context)
    }
    await failuresOfModule(curious)
    await failuresOfModule(curious, { delegation: 'refused' })
    const rule = { issuer: 'https://idp.test', scope: ['login'], options: {} }
    const ordinary = { ...rule, place: 'the rule of the kit', delegateIdentMapping: false }
    const delegating = {
      ...rule,
      place: 'the delegating rule of the kit',
      delegateIdentMapping: true,
    }
    expect(told).toEqual([[ordinary, delegating], [ordinary]])
    const options = { unknown: 'x' }
    const failed = await failuresOfModule(init, {
      delegation: { foreignRole: 'postgres', options },
    })
    expect(failed).toEqual(['decides about the role itself under delegation'])
  })

  test('wants a reason for every case that is left out', async () => {
    const without = (notApplicable: string): Promise<string[]> =>
      failuresOf(undefined, {
        refused: { ...about().refused, insufficientScope: { notApplicable } },
      })
    expect(await without('tokens of acme have no scopes')).toEqual([])
    expect(await without('')).toHaveLength(1)
  })
})
