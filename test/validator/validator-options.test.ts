import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { checkValidatorOptions } from '../../src/validator/validator-options.ts'
import { fixture, inline, login } from './support.ts'

const validate = () => ({ authorized: false })
const check = (module: object, options: Record<string, string>) =>
  checkValidatorOptions(inline({ validate, ...module }, 'acme'), new Map(Object.entries(options)))

function unrecognized(option: string): object {
  return {
    message: `unrecognized authentication option name: "validator.${option}"`,
    detail: `The installed validator module ("acme") did not define an option named "${option}".`,
  }
}

describe('options of a module that lists their names', () => {
  test('are refused when the module has none', async () => {
    expect(await check({}, { tenant: 'a' })).toEqual({ errors: [unrecognized('tenant')] })
    expect(await check({ options: [] }, { tenant: 'a' })).toEqual({
      errors: [unrecognized('tenant')],
    })
  })

  test('are refused when the module does not know them, each with its own error', async () => {
    const options = { tenant: 'a', Tenant: 'b', constructor: 'c' }
    expect(await check({ options: ['tenant'] }, options)).toEqual({
      errors: [unrecognized('Tenant'), unrecognized('constructor')],
    })
  })

  test('are refused when they are called as something that every object has', async () => {
    const raw = new Map([['__proto__', 'x']])
    const loaded = inline({ validate, options: ['toString'] }, 'acme')
    expect(await checkValidatorOptions(loaded, raw)).toEqual({
      errors: [unrecognized('__proto__')],
    })
  })

  test('reach the module as they are', async () => {
    const loaded = await fixture('with-options.js')
    const checked = await checkValidatorOptions(
      loaded,
      new Map([
        ['tenant', 'acme'],
        ['max_age', ''],
      ]),
    )
    expect(checked.errors).toBe(undefined)
    expect(Object.isFrozen(checked.options)).toBe(true)
    expect(await login(loaded, { options: checked.options })).toMatchObject({
      authorized: true,
      authnId: '',
    })
  })

  test('may be absent', async () => {
    expect(await check({ options: ['tenant'] }, {})).toEqual({ options: {} })
  })
})

describe('options of a module with a schema', () => {
  test('are refused with the reason of the schema', async () => {
    const { errors } = await check(
      { options: z.object({ tenant: z.string(), max_age: z.coerce.number() }) },
      { max_age: 'soon' },
    )
    expect(errors?.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^invalid value for authentication option "validator\.tenant": /),
      expect.stringMatching(/^invalid value for authentication option "validator\.max_age": /),
    ])
  })

  test('are refused when the schema would drop them', async () => {
    expect(
      await check({ options: z.object({ tenant: z.string() }) }, { tenant: 'a', tenat: 'b' }),
    ).toEqual({ errors: [unrecognized('tenat')] })
  })

  test('are refused when the schema is strict', async () => {
    const { errors } = await check(
      { options: z.strictObject({ tenant: z.string() }) },
      { tenant: 'a', tenat: 'b' },
    )
    expect(errors?.[0].message).toContain('tenat')
  })

  test.each([
    ['throws', () => Promise.reject(new Error('no such tenant'))],
    [
      'throws at once',
      () => {
        throw new Error('no such tenant')
      },
    ],
    ['answers nonsense', () => undefined],
  ])('are refused when the schema %s', async (_name, validateOptions) => {
    const options = { '~standard': { version: 1, vendor: 'acme', validate: validateOptions } }
    const { errors } = await check({ options }, { tenant: 'a' })
    expect(errors?.[0].message).toContain(
      'validator module "acme" could not check its authentication options',
    )
  })

  test('reach the module as the schema made them, defaults included', async () => {
    const loaded = await fixture('with-schema.js')
    for (const [maxAge, authorized] of [
      ['60', true],
      ['61', false],
    ] as const) {
      const raw = new Map([
        ['tenant', 'acme'],
        ['max_age', maxAge],
      ])
      const { options } = await checkValidatorOptions(loaded, raw)
      expect(await login(loaded, { options })).toMatchObject({ authorized })
    }
    const { options } = await checkValidatorOptions(loaded, new Map([['tenant', 'acme']]))
    expect(options).toEqual({ tenant: 'acme', max_age: 300 })
  })

  test('may have other names in the module than in the rule', async () => {
    const options = z
      .object({ max_age: z.string() })
      .transform((value) => ({ maxAge: value.max_age }))
    expect(await check({ options }, { max_age: '9' })).toEqual({ options: { maxAge: '9' } })
  })

  test('may be anything where the schema says so', async () => {
    for (const options of [z.record(z.string(), z.string()), z.looseObject({}), z.any()]) {
      expect(await check({ options }, { a: '1', b: '2' })).toEqual({
        options: { a: '1', b: '2' },
      })
    }
  })

  test('may be checked asynchronously', async () => {
    const options = z.object({
      tenant: z.string().refine((value) => Promise.resolve(value === 'a')),
    })
    expect(await check({ options }, { tenant: 'a' })).toEqual({ options: { tenant: 'a' } })
    expect((await check({ options }, { tenant: 'b' })).errors).toHaveLength(1)
  })
})
