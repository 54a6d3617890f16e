/**
 * Rules, maps and validators, loaded together and checked against each other: what a login is decided by.
 *
 * @module
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import {
  type RoleMemberships,
  staticMemberships,
  unknownMemberships,
} from '../auth-file/role-memberships.ts'
import { type ByteString, fromText, toText, toUtf8 } from '../byte-string.ts'
import { ConfigError, ConfigFileError } from '../errors.ts'
import { type CompiledHbaLines, compileHbaLines } from '../hba/compile-hba-lines.ts'
import type { HbaLine } from '../hba/hba-line.ts'
import { type HbaFile, loadHbaFile } from '../hba/load-hba-file.ts'
import type { IdentLine } from '../ident/ident-line.ts'
import { type IdentFile, type IdentLoadContext, loadIdentFile } from '../ident/load-ident-file.ts'
import type { Log } from '../log.ts'
import { discoveryResponse } from '../protocol/oauth-discovery.ts'
import { disposeValidators } from '../validator/dispose-validators.ts'
import type { LoadedValidator } from '../validator/loaded-validator.ts'
import { checkValidatorOptions } from '../validator/validator-options.ts'
import { noteFile } from './files-read.ts'
import { loadValidators } from './load-validators.ts'
import { noteValidatorFiles } from './note-validator-files.ts'
import type { Settings } from './settings.ts'

/** The settings that rules need. */
export type RulesSettings = Pick<
  Settings,
  | 'hbaFile'
  | 'identFile'
  | 'oauthValidatorLibraries'
  | 'validators'
  | 'validatorHosts'
  | 'roleMemberships'
  | 'ssl'
  | 'logConnections'
  | 'baseDirectory'
> & {
  readonly upstream: Pick<Settings['upstream'], 'membershipsUser'>
}

/** What an `oauth` rule needs at each login, worked out once. */
export interface OAuthRule {
  readonly validator: LoadedValidator
  /** The rule's `validator.*`, as the module's schema returned them. */
  readonly options: unknown
  readonly issuer: string
  readonly scope: string
  /** The JSON for whoever has no good token. */
  readonly discovery: Buffer
}

/** An immutable set of rules; a reload makes another one. */
export interface Rules {
  readonly hba: CompiledHbaLines
  readonly identLines: readonly IdentLine[]
  readonly memberships: RoleMemberships | undefined
  readonly validators: readonly LoadedValidator[]
  /** Every `oauth` line of `hba.lines` is in here. */
  readonly oauth: ReadonlyMap<HbaLine, OAuthRule>
  readonly logConnections: Settings['logConnections']
}

/** What was found, whether or not it can be used. */
export interface RulesReport {
  readonly hba: HbaFile
  readonly ident: IdentFile
  /** Those that could be loaded; they have been disposed of where there are errors. */
  readonly validators: readonly LoadedValidator[]
  /** Of all files and modules: first rules, then maps, modules and the options for them. */
  readonly errors: ConfigError['errors']
  /** Undefined where there is an error. */
  readonly rules: Rules | undefined
}

export interface InspectRulesOptions {
  /** Nobody will log in: modules are to keep off the network. Default: false. */
  readonly checkOnly?: boolean
  /** Where the settings name a login that reads them; default: they are never known. */
  readonly memberships?: RoleMemberships | undefined
}

/**
 * Loads everything.
 *
 * @throws ConfigError with every error of every file and module; nothing is left loaded then.
 */
export async function loadRules(settings: RulesSettings, log: Log): Promise<Rules> {
  const report = await inspectRules(settings, log)
  logWarnings(report, log)
  if (report.rules === undefined) {
    throw new ConfigError(report.errors)
  }
  return report.rules
}

/** Tells of rules that load but can never match. */
export function logWarnings({ hba }: RulesReport, log: Log): void {
  for (const { message, file, line } of hba.warnings) {
    log.warning(message, { file, line })
  }
}

/** Loads everything, and tells what is there even where some of it is wrong. */
export async function inspectRules(
  settings: RulesSettings,
  log: Log,
  options: InspectRulesOptions = {},
): Promise<RulesReport> {
  const source = options.memberships ?? membershipsOf(settings)
  const memberships = source === undefined ? 'none' : 'available'
  const hba = loadHbaFile(path.resolve(settings.baseDirectory, settings.hbaFile), {
    oauthValidatorLibraries: settings.oauthValidatorLibraries,
    ssl: settings.ssl,
    memberships,
  })
  const ident = loadMaps(settings, { memberships })
  await noteValidatorFiles(settings)
  noteFiles([...hba.files, ...ident.files])
  const loaded = await loadValidators(settings, hba.lines, { ...options, log })
  const checked = await checkOAuthRules(hba.lines, loaded.validators)
  const errors = [...hba.errors, ...ident.errors, ...loaded.errors, ...checked.errors]
  const validators = [...loaded.validators.values()]
  if (errors.length > 0) {
    await disposeValidators(validators, { log })
    return { hba, ident, validators, errors, rules: undefined }
  }
  const rules = Object.freeze({
    hba: compileHbaLines(hba.lines),
    identLines: ident.lines,
    memberships: source,
    validators,
    oauth: checked.rules,
    logConnections: settings.logConnections,
  })
  return { hba, ident, validators, errors, rules }
}

function membershipsOf({ roleMemberships, upstream }: RulesSettings): RoleMemberships | undefined {
  if (roleMemberships !== undefined) {
    return staticMemberships(roleMemberships)
  }
  return upstream.membershipsUser === undefined ? undefined : unknownMemberships
}

// A name that is not UTF-8 is read, but not watched.
function noteFiles(files: readonly ByteString[]): void {
  for (const file of files.map(toUtf8)) {
    if (file !== undefined) {
      noteFile(file)
    }
  }
}

const DEFAULT_IDENT_FILE = 'pg_ident.conf'

// A file that is named must be there; the default one may be missing.
function loadMaps(
  { identFile, baseDirectory }: RulesSettings,
  context: IdentLoadContext,
): IdentFile {
  const file = path.resolve(baseDirectory, identFile ?? DEFAULT_IDENT_FILE)
  return identFile === undefined && !existsSync(file)
    ? { lines: [], errors: [], mappings: [], files: [fromText(file)] }
    : loadIdentFile(file, context)
}

async function checkOAuthRules(
  lines: readonly HbaLine[],
  validators: ReadonlyMap<string, LoadedValidator>,
): Promise<{ rules: ReadonlyMap<HbaLine, OAuthRule>; errors: ConfigFileError[] }> {
  const rules = new Map<HbaLine, OAuthRule>()
  const errors: ConfigFileError[] = []
  for (const line of lines) {
    const validator = line.oauth && validators.get(line.oauth.validator)
    if (line.oauth === undefined || validator === undefined) {
      continue
    }
    const { issuer, scope, validatorOptions } = line.oauth
    const checked = await checkValidatorOptions(validator, validatorOptions)
    if (checked.errors !== undefined) {
      errors.push(...checked.errors.map((error) => optionError(line, error)))
      continue
    }
    rules.set(line, {
      validator,
      options: checked.options,
      issuer: toText(issuer),
      scope: toText(scope),
      discovery: discoveryResponse(issuer, scope),
    })
  }
  return { rules, errors }
}

function optionError(
  line: HbaLine,
  error: { readonly message: string; readonly detail: string | undefined },
): ConfigFileError {
  return new ConfigFileError(error.message, {
    file: line.file,
    line: line.line,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
  })
}
