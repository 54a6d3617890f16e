/** The reference of settings, compared with the schemas that the settings are read by. */
import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { settingsSchema } from '../../src/config/settings.ts'
import { validatorHostSchema } from '../../src/config/validator-hosts.ts'
import {
  MAX_CONCURRENT_VALIDATIONS,
  MAX_WAITING_VALIDATIONS,
} from '../../src/validator/validator-limits.ts'
import { compositeSettings } from '../../validators/lib/composite/settings.ts'
import { introspectionSettings } from '../../validators/lib/introspection-settings.ts'
import { jwtSettings } from '../../validators/lib/jwt-settings.ts'
import { opaqueSettings } from '../../validators/lib/opaque-settings.ts'
import { PRESETS } from '../../validators/lib/presets/presets.ts'
import {
  codeSpans,
  mentions,
  namesIn,
  page,
  section,
  tableRows,
  withoutSubsections,
} from './markdown.ts'
import { fieldsOf, isDefault, settingsOf } from './schemas.ts'

type Schema = z.core.$ZodType

/** Names in the first column with what the second says, where it says one thing for each. */
function documented(text: string): Map<string, string | undefined> {
  return new Map(
    tableRows(text).flatMap(([first = '', second = '']) => {
      const names = namesIn(first)
      const defaults = codeSpans(second)
      return names.map((name, index) => [
        name,
        defaults.length === names.length ? defaults[index] : undefined,
      ])
    }),
  )
}

function wrongDefaults(
  rows: ReadonlyMap<string, string | undefined>,
  settings: ReadonlyMap<string, Schema>,
): string[] {
  return [...rows].flatMap(([name, written]) => {
    const schema = settings.get(name)
    return schema !== undefined && written !== undefined && !isDefault(schema, written)
      ? [`${name} = ${written}`]
      : []
  })
}

describe('pgbearer.toml', () => {
  const settings = page('reference/settings.md')
  const upstream = section(settings, '## The server behind: `[upstream]`')
  const host = section(settings, '### How a validator is run: `[validator_hosts.<name>]`')
  const top = ['## Listening', '## TLS', '## Who gets in', '## Log']
    .map((heading) => withoutSubsections(section(settings, heading)))
    .join('\n')
  const tables = {
    '[validators.<name>]': 'validators',
    '[validator_hosts.<name>]': 'validator_hosts',
  }

  const plain = (name: string): string =>
    ({ ...tables, '[role_memberships]': 'role_memberships', '[upstream.oauth]': 'oauth' })[name] ??
    name

  const PLACES: [string, string, ReadonlyMap<string, Schema>, string[]][] = [
    ['the top', top, fieldsOf(settingsSchema), ['upstream']],
    ['[upstream]', withoutSubsections(upstream), fieldsOf(settingsSchema.shape.upstream), []],
    ['[validator_hosts.<name>]', host, fieldsOf(validatorHostSchema), []],
  ]

  test.each(PLACES)('at %s has the settings that there are', (_, text, fields, elsewhere) => {
    const names = [...documented(text).keys()].map(plain)
    expect([...names, ...elsewhere].sort()).toEqual([...fields.keys()].sort())
  })

  // The schema of [validator_hosts.<name>] has no defaults: they are the host's.
  test.each(PLACES.slice(0, 2))('at %s has their defaults', (_, text, fields) => {
    const rows = documented(text)
    expect(rows.size).toBeGreaterThan(5)
    // The name is a default only as long as nobody names it, because then the file may be missing.
    rows.delete('ident_file')
    expect(wrongDefaults(rows, fields)).toEqual([])
  })

  test('says none where there is none, and required where one is', () => {
    const rows = tableRows(`${top}\n${upstream}`)
    const fields = new Map([
      ...fieldsOf(settingsSchema),
      ...fieldsOf(settingsSchema.shape.upstream),
    ])
    const wrong = rows.flatMap(([first = '', second = '']) =>
      namesIn(first).filter((name) => {
        const schema = fields.get(plain(name))
        return (
          schema !== undefined && (second === 'none' || second === 'required') !== lacks(schema)
        )
      }),
    )
    // What it is without being written is said in the row.
    expect(wrong).toEqual(['ident_file', 'require_auth'])
  })

  function lacks(schema: Schema): boolean {
    return (schema as z.ZodType).safeParse(undefined).data === undefined
  }

  test('has the defaults of the validator host', () => {
    expect(documented(host).get('max_concurrent_validations')).toBe(
      String(MAX_CONCURRENT_VALIDATIONS),
    )
    expect(documented(host).get('validation_queue_size')).toBe(String(MAX_WAITING_VALIDATIONS))
  })

  test.each(['resource_limits'])('names all that is in %s', (name) => {
    const missing = [...settingsOf(validatorHostSchema).keys()]
      .filter((each) => each.startsWith(`${name}.`))
      .filter((each) => !mentions(host, each.slice(name.length + 1)))
    expect(missing).toEqual([])
  })

  test('names all that is in [upstream.oauth]', () => {
    const text = section(settings, '### A token for the server behind: `[upstream.oauth]`')
    const { oauth } = settingsSchema.shape.upstream.shape
    const names = [...settingsOf(oauth).keys()].map((name) => name.split('.').at(-1) ?? '')
    expect(names.length).toBeGreaterThan(10)
    expect(names.filter((name) => !mentions(text, name))).toEqual([])
  })
})

const JWT = page('reference/validators/jwt.md')
const INTROSPECTION = page('reference/validators/introspection.md')
const OPAQUE = page('reference/validators/opaque.md')
const COMPOSITE = page('reference/validators/composite.md')

/** The rows that speak of a setting: under its own name, or under that of a table that it is in. */
function rowsOf(text: string, name: string): string {
  const parts = name.split('.')
  const covers = parts.flatMap((_, index) => {
    const stem = parts.slice(0, index + 1).join('.')
    return [stem, `${stem}.*`]
  })
  return tableRows(text)
    .filter(([first = '']) => namesIn(first).some((each) => covers.includes(each)))
    .map((cells) => cells.join(' '))
    .join(' ')
}

function undocumented(text: string, names: Iterable<string>): string[] {
  return [...names].filter((name) => {
    const leaf = name.split('.').at(-1) ?? ''
    const rows = rowsOf(text, name)
    const isDeep = name.split('.').length > 2
    return rows === '' || !mentions(isDeep ? text : rows, leaf)
  })
}

describe('validator jwt', () => {
  const settings = settingsOf(jwtSettings)
  const table = section(JWT, '## Settings')

  test('has a word about each setting', () => {
    // A table is described by what is in it.
    const leaves = [...settings.keys()].filter(
      (name) => ![...settings.keys()].some((other) => other.startsWith(`${name}.`)),
    )
    expect(undocumented(JWT, leaves)).toEqual([])
  })

  test('has no setting that there is not', () => {
    const names = [...documented(table).keys()].map((name) => name.replace(/\.\*$/, ''))
    expect(names.length).toBeGreaterThan(40)
    expect(names.filter((name) => name !== 'preset' && !settings.has(name))).toEqual([])
  })

  test('has the defaults', () => {
    expect(wrongDefaults(documented(table), settings)).toEqual([])
  })

  test('has the defaults that stand side by side', () => {
    const cell = (name: string): string =>
      tableRows(table).find(([first]) => first === `\`${name}\``)?.[1] ?? ''
    const wrong: string[] = []
    for (const [row, name, value] of [
      ...pairs(cell('limits')).map((pair) => ['limits', ...pair] as const),
      ...pairs(cell('keys.*')).map((pair) => ['keys', ...pair] as const),
      ...pairs(cell('http.*')).map((pair) => ['http', ...pair] as const),
    ]) {
      const schema = settings.get(`${row}.${name}`)
      if (schema !== undefined && !isDefault(schema, value)) {
        wrong.push(`${row}.${name} ${value}`)
      }
    }
    expect(wrong).toEqual([])
  })

  /** `refresh_after` 300 s, token 16384: a name with what follows it. */
  function pairs(cell: string): [string, string][] {
    return [...cell.matchAll(/`?(\w+)`? (?:`([^`]+)`|(\d[\w .]*?\w|\d))(?=,| \(|$)/g)].map(
      ([, name = '', code, value = '']) => [name, code ?? value.replace(' ', '')],
    )
  }
})

describe('validator introspection', () => {
  const inherited = settingsOf(jwtSettings)
  const settings = settingsOf(introspectionSettings)
  const own = [...settings.keys()].filter((name) => !inherited.has(name))

  test('has a word about each setting that jwt has not', () => {
    expect(own.length).toBeGreaterThan(15)
    const missing = own.filter((name) => !mentions(INTROSPECTION, name.split('.').at(-1) ?? ''))
    expect(missing).toEqual([])
  })

  test('has no setting that there is not, and the defaults', () => {
    const rows = documented(
      INTROSPECTION.slice(INTROSPECTION.indexOf('| Setting |'), INTROSPECTION.indexOf('\n## ')),
    )
    expect([...rows.keys()].filter((name) => !settings.has(name))).toEqual([])
    // Defaults of the request, words about one, or one that differs from that of jwt.
    for (const other of [
      'token_parameter',
      'token_type_hint',
      'endpoint',
      'breaker',
      'http.timeout',
    ]) {
      expect(rows.delete(other)).toBe(true)
    }
    expect(wrongDefaults(rows, settings)).toEqual([])
  })
})

describe('validators opaque and composite', () => {
  test.each([
    ['opaque', OPAQUE, opaqueSettings],
    ['composite', COMPOSITE, compositeSettings],
  ] as const)('%s has a word about each setting of its own', (_, text, schema) => {
    const inherited = new Set([
      ...settingsOf(jwtSettings).keys(),
      ...settingsOf(introspectionSettings).keys(),
    ])
    const own = [...fieldsOf(schema).keys()].filter((name) => !inherited.has(name))
    expect(own.length).toBeGreaterThan(3)
    expect(own.filter((name) => !mentions(text, name))).toEqual([])
  })
})

describe('presets', () => {
  const rows = tableRows(
    withoutSubsections(section(page('reference/validators/presets.md'), '# Presets of `jwt`')),
  )
    .slice(1)
    .map(([name = '', parameters = '']) => [codeSpans(name)[0], codeSpans(parameters)] as const)

  test('are those that there are', () => {
    expect(rows.map(([name]) => name)).toEqual(Object.keys(PRESETS))
  })

  test('have the parameters that they have', () => {
    const parameters = Object.entries(PRESETS).map(([name, { schema }]) => [
      name,
      [...fieldsOf(schema).keys()],
    ])
    expect(rows).toEqual(parameters)
  })
})
