/**
 * A settings file with mistakes in it, read as far as it goes.
 *
 * @module
 */
import path from 'node:path'
import { parse } from 'smol-toml'
import type { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { loadSettingsFile, namesAt, readSettings } from './load-settings.ts'
import { nearestName } from './nearest-name.ts'
import { type Settings, settingsSchema, toSettings } from './settings.ts'

/** What a settings file says, and all that is wrong with it. */
export interface SettingsReport {
  /**
   * The settings, with defaults in place of what is wrong; undefined where that could change what rules and maps
   * mean. Good for looking at other files, never for serving.
   */
  readonly settings: Settings | undefined
  readonly errors: ConfigError['errors']
}

/** Reads a settings file as far as it goes, so that its errors do not hide those of the files it names. */
export function inspectSettingsFile(file: string): SettingsReport {
  try {
    return { settings: loadSettingsFile(file), errors: [] }
  } catch (error) {
    if (!(error instanceof ConfigError)) {
      throw error
    }
    return { settings: repairedSettings(file), errors: error.errors }
  }
}

/** Settings by which rules and maps are read: a default in their place would find errors that are none. */
const DECISIVE: ReadonlySet<string> = new Set([
  'hba_file',
  'ident_file',
  'oauth_validator_libraries',
  'role_memberships',
  'ssl',
  'validators',
])

/** Settings of `[upstream]` that only make sense together with its `sslmode`. */
const TLS_SETTINGS = ['sslrootcert', 'sslnegotiation', 'sslcert', 'sslkey']

/** Stands for `upstream.host`, which has no default. */
const NO_HOST = 'none'

function repairedSettings(file: string): Settings | undefined {
  let table: Record<string, unknown>
  try {
    table = parse(readSettings(file))
  } catch {
    return undefined
  }
  const wrong = settingsSchema.safeParse(table).error?.issues.flatMap(wrongPlaces) ?? []
  if (wrong.some(isDecisive)) {
    return undefined
  }
  const upstream = isTable(table['upstream']) ? { ...table['upstream'] } : {}
  const repaired: Record<string, unknown> = { ...table, upstream }
  for (const [name, inner] of wrong) {
    Reflect.deleteProperty(name === 'upstream' ? upstream : repaired, inner ?? name ?? '')
  }
  if (wrong.some(([name, inner]) => name === 'upstream' && inner === 'sslmode')) {
    for (const dependent of TLS_SETTINGS) {
      Reflect.deleteProperty(upstream, dependent)
    }
  }
  upstream['host'] ??= NO_HOST
  const parsed = settingsSchema.safeParse({ ...repaired, upstream })
  return parsed.success ? toSettings(parsed.data, path.dirname(path.resolve(file))) : undefined
}

/** Of each wrong setting the name and, in `[upstream]`, the name there. */
function wrongPlaces(issue: z.core.$ZodIssue): PropertyKey[][] {
  const keys = issue.code === 'unrecognized_keys' ? issue.keys : [undefined]
  return keys.map((key) => {
    const place = key === undefined ? issue.path : [...issue.path, key]
    return place[0] === 'upstream' ? place.slice(0, 2) : place.slice(0, 1)
  })
}

// A name that was meant to be a decisive one is as good as that.
function isDecisive([name, inner]: readonly PropertyKey[]): boolean {
  const inUpstream = name === 'upstream' && inner !== undefined
  const written = String(inUpstream ? inner : name)
  const known = namesAt(inUpstream ? ['upstream'] : [])
  const meant = known.includes(written) ? written : nearestName(written, known)
  return meant !== undefined && (inUpstream ? meant === 'memberships_user' : DECISIVE.has(meant))
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
