/**
 * The cases that every validator module has to pass: the refusals that PostgreSQL's manual calls
 * mandatory ("OAuth Validator Modules"), and the life of a connection.
 *
 * @module
 */
import assert from 'node:assert/strict'
import type { AnyValidatorModule, Awaitable, ValidatorInit } from '../validator/contract.ts'
import type { DecidedOutcome, ValidationOutcome } from '../validator/validation-outcome.ts'
import type { ConformanceOptions, MandatoryRefusals, TokenSource } from './conformance-options.ts'
import { hostileTokens } from './hostile-tokens.ts'
import { TrialRoom, watched } from './trial-room.ts'

/** One case: a sentence, and what throws unless it is true. */
export interface ConformanceCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/**
 * Registers all cases with a test runner: vitest's `test`, or `test` of `node:test`.
 *
 * @param module - an init function, an object with the callbacks, or a namespace (`import * as acme`).
 *
 * @example
 * ```ts
 * import { test } from 'node:test'
 * import { validatorConformance } from 'pgbearer/testing'
 * import init from './acme.js'
 *
 * validatorConformance(init, {
 *   test,
 *   settings: { key_file: 'test.pem' },
 *   goodToken: () => sign({ sub: 'ali' }),
 *   role: 'ali',
 *   authnId: 'ali',
 *   refused: {
 *     forged: () => sign({ sub: 'ali' }, otherKey),
 *     expired: () => sign({ sub: 'ali', exp: 1 }),
 *     otherIssuer: () => sign({ sub: 'ali', iss: 'https://other.example' }),
 *     otherAudience: () => sign({ sub: 'ali', aud: 'other' }),
 *     insufficientScope: { notApplicable: 'tokens of acme have no scopes' },
 *     withoutIdentity: () => sign({}),
 *   },
 *   delegation: 'refused',
 * })
 * ```
 */
export function validatorConformance(
  module: ValidatorInit | AnyValidatorModule,
  options: ConformanceOptions & {
    readonly test: (name: string, run: () => Promise<void>) => unknown
  },
): void {
  for (const { name, run } of conformanceCases(module, options)) {
    void options.test(name, run)
  }
}

/** The cases themselves, to be run in this order; the last one disposes of the module. */
export function conformanceCases(
  module: ValidatorInit | AnyValidatorModule,
  options: ConformanceOptions,
): readonly ConformanceCase[] {
  const room = new TrialRoom(module, options)
  const good = (): Awaitable<string> => issue(options.goodToken)
  const cases: readonly ConformanceCase[] = [
    ...acceptance(room, options, good),
    ...mandatory(room, options.refused),
    ...Object.entries(options.alsoRefused ?? {}).map(([what, source]) => ({
      name: `refuses ${what}`,
      run: async () => refuses(await room.login(await issue(source))),
    })),
    ...identity(room, options, good),
    ...life(room, options, good),
  ]
  return cases.map(({ name, run }) => ({ name, run: () => watched(run) }))
}

function acceptance(
  room: TrialRoom,
  options: ConformanceOptions,
  good: () => Awaitable<string>,
): readonly ConformanceCase[] {
  return [
    {
      name: 'accepts the good token, and says whose it is and when it expires',
      run: async () => {
        const outcome = accepts(await room.login(await good()))
        assert.equal(outcome.authnId ?? null, options.authnId)
        const { expiresAt } = outcome
        assert.ok(
          expiresAt === undefined || expiresAt * 1000 > Date.now(),
          'it has expired already',
        )
      },
    },
    {
      name: 'refuses what is made from the good token, and nonsense, by a decision and not by an error',
      run: async () => {
        for (const { what, token } of hostileTokens(await good())) {
          const outcome = await room.login(token)
          assert.ok(outcome.kind === 'decided', `${what}: ${describe(outcome)}`)
          assert.equal(outcome.authorized, false, `${what} was accepted`)
        }
      },
    },
  ]
}

const MANDATORY: readonly (readonly [keyof MandatoryRefusals, string])[] = [
  ['forged', 'refuses a token that its issuer did not issue'],
  ['expired', 'refuses a token that has expired'],
  ['otherIssuer', 'refuses a token of another issuer'],
  ['otherAudience', 'refuses a token for another audience'],
  ['insufficientScope', 'refuses a token without the scope that is needed'],
  ['withoutIdentity', 'has no identity for a token that has none'],
]

function mandatory(room: TrialRoom, refused: MandatoryRefusals): readonly ConformanceCase[] {
  return MANDATORY.map(([key, sentence]) => {
    const source = refused[key]
    if (typeof source === 'object') {
      return {
        name: `${sentence} (not applicable: ${source.notApplicable})`,
        run: async () => {
          assert.ok(source.notApplicable.trim() !== '', 'say why this case cannot happen')
        },
      }
    }
    return {
      name: sentence,
      run: async () => {
        const outcome = await room.login(await issue(source))
        if (key === 'withoutIdentity' && outcome.kind === 'decided' && outcome.authorized) {
          assert.equal(outcome.authnId ?? '', '', 'it made an identity up')
          return
        }
        refuses(outcome)
      },
    }
  })
}

function identity(
  room: TrialRoom,
  options: ConformanceOptions,
  good: () => Awaitable<string>,
): readonly ConformanceCase[] {
  const { delegation } = options
  return [
    {
      name: 'takes the identity from the token and never from the role that is asked for',
      run: async () => {
        for (const role of ['postgres', 'somebody else', `${options.role}x`]) {
          const outcome = await room.login(await good(), { role })
          if (outcome.kind === 'decided' && outcome.authorized) {
            assert.equal(outcome.authnId ?? null, options.authnId)
          }
        }
      },
    },
    delegation === 'refused'
      ? {
          name: 'refuses delegation, which it does not support',
          run: async () => {
            // An error of the module is as good: PostgreSQL's way to say that the configuration is wrong.
            const outcome = await room.login(await good(), { delegateIdentMapping: true })
            assert.ok(outcome.kind !== 'decided' || !outcome.authorized, 'it was accepted')
          },
        }
      : {
          name: 'decides about the role itself under delegation',
          run: async () => {
            accepts(await room.login(await good(), { delegateIdentMapping: true }))
            const foreign = { role: delegation.foreignRole, delegateIdentMapping: true }
            refuses(await room.login(await good(), foreign))
          },
        },
  ]
}

function life(
  room: TrialRoom,
  options: ConformanceOptions,
  good: () => Awaitable<string>,
): readonly ConformanceCase[] {
  return [
    {
      name: 'is started and shut down for a client that only asks where to get a token',
      run: async () => {
        const { session } = await room.open()
        await session.startup()
        await session.shutdown()
        accepts(await room.login(await good()))
      },
    },
    {
      name: 'is not disturbed by a client that leaves while its token is looked at',
      run: async () => {
        const { session, leave } = await room.open()
        await session.startup()
        const outcome = room.validate(session, await good())
        leave()
        await outcome
        await session.shutdown()
        accepts(await room.login(await good()))
      },
    },
    {
      name: 'keeps connections apart that are there at the same time',
      run: async () => {
        const tokens = await Promise.all(
          Array.from({ length: 20 }, async (_, index) => {
            const token = await good()
            return index % 2 === 0 ? token : `${token.replace(/=+$/, '')}AAAA`
          }),
        )
        const sessions = await Promise.all(tokens.map(() => room.open()))
        await Promise.all(sessions.map(({ session }) => session.startup()))
        const outcomes = await Promise.all(
          sessions.map(({ session }, index) => room.validate(session, tokens[index] ?? '')),
        )
        await Promise.all(sessions.map(({ session }) => session.shutdown()))
        for (const [index, outcome] of outcomes.entries()) {
          if (index % 2 === 0) {
            assert.equal(accepts(outcome).authnId ?? null, options.authnId)
            continue
          }
          refuses(outcome)
        }
      },
    },
    {
      name: 'lets go of what it holds, in time',
      run: async () => {
        assert.equal(await room.dispose(), '')
      },
    },
  ]
}

async function issue(source: TokenSource): Promise<string> {
  return typeof source === 'string' ? source : source()
}

function accepts(outcome: ValidationOutcome): DecidedOutcome {
  assert.ok(outcome.kind === 'decided' && outcome.authorized, describe(outcome))
  return outcome
}

function refuses(outcome: ValidationOutcome): void {
  assert.equal(outcome.kind, 'decided', describe(outcome))
  assert.ok(outcome.kind === 'decided' && !outcome.authorized, 'it was accepted')
}

function describe(outcome: ValidationOutcome): string {
  return outcome.kind === 'decided'
    ? `it was ${outcome.authorized ? 'accepted' : `refused: ${outcome.errorDetail ?? outcome.code ?? 'no reason'}`}`
    : `an internal error, ${outcome.reason}: ${outcome.logDetail}`
}
