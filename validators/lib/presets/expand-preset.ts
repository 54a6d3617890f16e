/**
 * `preset = "keycloak"`: the settings that fit one provider, as defaults. What the table says itself wins,
 * except that claim rules are added to those of the preset: they keep other customers of the provider out.
 *
 * @module
 */
import { parseSettings, SettingsError } from '../settings/parse-settings.ts'
import { PRESETS, type PresetName } from './presets.ts'

type Table = Readonly<Record<string, unknown>>

/** A table that names a key source of its own does not get the preset's. */
const KEY_SOURCES = ['discovery_url', 'jwks_uri', 'jwks', 'jwks_file', 'public_keys']

/**
 * The table with the settings of its preset under its own. `preset` is a name, or a table with a `name`
 * and what the provider needs to know.
 *
 * @example
 * ```ts
 * expandPreset({ preset: { name: 'entra', tenant_id: '…' }, audiences: ['…'] })
 * ```
 * @throws {SettingsError} for a name that is none, or a parameter that is missing
 */
export function expandPreset(table: Table): Table {
  const { preset, ...own } = table
  if (preset === undefined) {
    return table
  }
  const { name, ...parameters } = typeof preset === 'string' ? { name: preset } : asTable(preset)
  if (typeof name !== 'string' || !Object.hasOwn(PRESETS, name)) {
    throw new SettingsError(`preset: must be one of ${Object.keys(PRESETS).join(', ')}`)
  }
  const { schema, settings } = PRESETS[name as PresetName]
  const defaults = settings(parseSettings(schema, parameters))
  const withoutKeys = KEY_SOURCES.some((source) => own[source] !== undefined)
    ? Object.fromEntries(Object.entries(defaults).filter(([key]) => !KEY_SOURCES.includes(key)))
    : defaults
  return { ...merge(withoutKeys, own), ...bothClaimRules(defaults, own) }
}

/** Left as it is where it is no list, for whoever reads the table to say so. */
function bothClaimRules(defaults: Table, own: Table): Table {
  const [presets, owns] = [defaults['claim_rules'], own['claim_rules']]
  return Array.isArray(presets) && Array.isArray(owns)
    ? { claim_rules: [...(presets as unknown[]), ...(owns as unknown[])] }
    : {}
}

function asTable(value: unknown): Table {
  return isTable(value) ? value : {}
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Tables inside tables are merged, everything else is replaced. */
function merge(defaults: Table, own: Table): Table {
  const merged: Record<string, unknown> = { ...defaults }
  for (const [name, value] of Object.entries(own)) {
    const below = merged[name]
    merged[name] = isTable(below) && isTable(value) ? merge(below, value) : value
  }
  return merged
}
