/**
 * Everything that a connection is served by, as one immutable value. A reload makes another one; a
 * connection keeps the one that it began with.
 *
 * @module
 */
import path from 'node:path'
import { type Authenticator, authenticatorOf } from './authenticator.ts'
import { type ByteString, fromText } from './byte-string.ts'
import { readKeyMaterial, type UpstreamKeyMaterial } from './config/key-material.ts'
import {
  inspectRules,
  type InspectRulesOptions,
  logWarnings,
  type RulesReport,
} from './config/rules.ts'
import type { Settings } from './config/settings.ts'
import { loadUsersFile } from './config/users-file.ts'
import { ConfigError, ConfigFileError } from './errors.ts'
import type { Log } from './log.ts'
import { CatalogMemberships } from './memberships/catalog-memberships.ts'
import { createServerTls, type ServerTls } from './startup/tls.ts'
import type { UpstreamCredential } from './upstream/credential.ts'
import type { UpstreamSettings } from './upstream/settings.ts'
import { loadUpstreamTokens, warnOfUpstreamTokens } from './upstream-tokens/load-upstream-tokens.ts'
import type { UpstreamTokens } from './upstream-tokens/upstream-tokens.ts'
import { disposeValidators } from './validator/dispose-validators.ts'

export interface Snapshot {
  readonly settings: Settings
  readonly authenticator: Authenticator
  /** Undefined where `ssl` is off. */
  readonly tls: ServerTls | undefined
  readonly upstream: UpstreamSettings
  readonly users: ReadonlyMap<ByteString, UpstreamCredential>
  /** Undefined where the server behind is shown no token. */
  readonly upstreamTokens: UpstreamTokens | undefined
  /** Undefined where the settings name nobody who reads them. Not started. */
  readonly memberships: CatalogMemberships | undefined
}

/** What was found, whether or not it can be used. */
export interface SnapshotReport {
  readonly rules: RulesReport
  /** All that is wrong: certificates and keys, the upstream's settings and users, then the rules. */
  readonly errors: ConfigError['errors']
  /** Undefined where there is an error. */
  readonly snapshot: Snapshot | undefined
}

/**
 * Loads all files and modules that the settings name.
 *
 * @throws ConfigError with all that is wrong; nothing is kept then.
 */
export async function loadSnapshot(settings: Settings, log: Log): Promise<Snapshot> {
  const { rules, snapshot, errors } = await inspectSnapshot(settings, log)
  logWarnings(rules, log)
  if (snapshot === undefined) {
    throw new ConfigError(errors)
  }
  warnOfUpstreamTokens(settings, log)
  return snapshot
}

/** Loads all that the settings name, and tells what is there even where some of it is wrong. */
export async function inspectSnapshot(
  settings: Settings,
  log: Log,
  options: InspectRulesOptions = {},
): Promise<SnapshotReport> {
  const { errors: own, attempt } = collectErrors()
  const material = attempt(() => readKeyMaterial(settings))
  const tls = attempt(() => material?.server && serverTls(material.server, settings))
  const upstream = attempt(() => material && upstreamSettings(settings, material.upstream))
  const users = attempt(() => loadUsers(settings))
  const upstreamTokens = attempt(() => loadUpstreamTokens(settings, log))
  const memberships = upstream && users && catalogMemberships(settings, { upstream, users, log })
  const report = await inspectRules(settings, log, { memberships, ...options })
  const errors = [...own, ...report.errors]
  const { rules } = report
  if (rules === undefined || upstream === undefined || users === undefined || errors.length > 0) {
    await disposeValidators(report.validators, { log })
    return { rules: report, errors, snapshot: undefined }
  }
  const authenticator = authenticatorOf(rules, log, {
    keepTokens: upstreamTokens?.usesClientToken === true,
  })
  const snapshot = Object.freeze({
    settings,
    authenticator,
    tls,
    upstream,
    users,
    upstreamTokens,
    memberships,
  })
  return { rules: report, errors, snapshot }
}

function collectErrors(): {
  errors: ConfigError['errors']
  attempt: <T>(load: () => T) => T | undefined
} {
  const errors: ConfigError['errors'] = []
  return {
    errors,
    attempt: (load) => {
      try {
        return load()
      } catch (error) {
        if (!(error instanceof ConfigError)) {
          throw error
        }
        errors.push(...error.errors)
        return undefined
      }
    },
  }
}

function serverTls(material: Parameters<typeof createServerTls>[0], settings: Settings): ServerTls {
  try {
    return createServerTls(material)
  } catch (cause) {
    const file = path.resolve(settings.baseDirectory, settings.sslCertFile)
    const message = `could not load server certificate or key: ${(cause as Error).message}`
    throw new ConfigError([new ConfigFileError(message, { file, cause })])
  }
}

function upstreamSettings(settings: Settings, material: UpstreamKeyMaterial): UpstreamSettings {
  const { host, port, sslmode, sslnegotiation, channelBinding, connectTimeout, requireAuth } =
    settings.upstream
  return {
    host,
    port,
    sslmode,
    sslnegotiation,
    channelBinding,
    connectTimeoutMs: connectTimeout,
    requireAuth,
    ...material,
  }
}

function loadUsers(settings: Settings): ReadonlyMap<ByteString, UpstreamCredential> {
  const { usersFile } = settings.upstream
  if (usersFile === undefined) {
    return new Map()
  }
  const { users, errors } = loadUsersFile(path.resolve(settings.baseDirectory, usersFile))
  if (errors.length > 0) {
    throw new ConfigError(errors)
  }
  return users
}

function catalogMemberships(
  { upstream: written }: Settings,
  { upstream, users, log }: Pick<Snapshot, 'upstream' | 'users'> & { readonly log: Log },
): CatalogMemberships | undefined {
  if (written.membershipsUser === undefined) {
    return undefined
  }
  const user = fromText(written.membershipsUser)
  const database = fromText(written.membershipsDatabase)
  return new CatalogMemberships({
    target: { upstream, user, database, credential: users.get(user) },
    refreshMs: written.membershipsRefresh,
    log,
  })
}
