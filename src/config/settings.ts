/**
 * The settings: one schema, strict, for `pgbearer.toml` and for `createServer()`. A setting that
 * PostgreSQL has keeps PostgreSQL's name, unit and default.
 *
 * @module
 */
import { z } from 'zod'
import { upstreamSettingsProblem } from '../upstream/settings.ts'
import { duration } from './units.ts'
import { upstreamOAuthSchema } from './upstream-oauth.ts'
import { validatorHostSchema } from './validator-hosts.ts'

const SECONDS = { unit: 's', min: 1, max: 600 } as const
const count = (max: number): z.ZodNumber => z.int().min(1).max(max)
const filePath = z.string().min(1)

const upstream = z.strictObject({
  /** Host name, address, or the directory of a Unix socket. */
  host: z.string().min(1),
  port: z.int().min(1).max(65535).default(5432),
  sslmode: z
    .enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'])
    .default('prefer'),
  sslnegotiation: z.enum(['postgres', 'direct']).default('postgres'),
  /** A PEM file, or `system` for the authorities that Node knows. */
  sslrootcert: filePath.optional(),
  sslcert: filePath.optional(),
  sslkey: filePath.optional(),
  channel_binding: z.enum(['disable', 'prefer', 'require']).default('prefer'),
  connect_timeout: duration({ unit: 's', min: 1, max: 600 }).prefault('10s'),
  /** The only methods that may be answered, in libpq's words. */
  require_auth: z
    .array(z.enum(['none', 'password', 'md5', 'scram-sha-256', 'oauth']))
    .min(1)
    .optional(),
  /** Which password logs in as which role. */
  users_file: filePath.optional(),
  /** Which token a server that asks for OAUTHBEARER is shown; without this table: none. */
  oauth: upstreamOAuthSchema.optional(),
  /** Reads role memberships from the catalog; its password is in `users_file`. */
  memberships_user: z.string().min(1).optional(),
  memberships_database: z.string().min(1).default('postgres'),
  memberships_refresh: duration({ unit: 's', min: 1, max: 86_400 }).prefault('1min'),
})

const table = z.strictObject({
  listen_addresses: z.array(z.string().min(1)).default(['localhost']),
  unix_socket_directories: z.array(filePath).default([]),
  port: z.int().min(0).max(65535).default(6432),
  authentication_timeout: duration(SECONDS).prefault('1min'),
  /** Reloads when a file of the configuration changes, as for SIGHUP. */
  reload_on_change: z.boolean().default(false),
  shutdown_timeout: duration({ unit: 's', min: 0, max: 86_400 }).prefault('30s'),
  max_connections: count(262_143).default(1000),
  /** TLS handshakes that compute at the same time. */
  max_handshakes_in_progress: count(10_000).default(8),
  /** Logins between the startup packet and the end of the upstream login. */
  max_logins_in_progress: count(10_000).default(64),
  /** How many may wait for each of the two; one more is refused. */
  login_queue_size: z.int().min(0).max(1_000_000).default(1000),
  hba_file: filePath.default('pg_hba.conf'),
  ident_file: filePath.optional(),
  log_connections: z
    .array(z.enum(['receipt', 'authentication', 'authorization', 'setup_durations', 'all']))
    .default([]),
  log_format: z.enum(['json', 'text']).default('json'),
  log_min_messages: z.enum(['debug', 'log', 'warning', 'error', 'fatal']).default('log'),
  ssl: z.boolean().default(false),
  ssl_cert_file: filePath.default('server.crt'),
  ssl_key_file: filePath.default('server.key'),
  ssl_ca_file: filePath.optional(),
  ssl_min_protocol_version: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
  oauth_validator_libraries: z.array(z.string().min(1)).default([]),
  /** One table per validator, handed to its init function as written. */
  validators: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
  /** One table per validator, for the host: where it runs, and what it may use. */
  validator_hosts: z.record(z.string(), validatorHostSchema).default({}),
  /** Group role to its direct members. */
  role_memberships: z.record(z.string(), z.array(z.string())).optional(),
  upstream,
})

/** What may stand in `pgbearer.toml`, with its defaults. */
export const settingsSchema = table.superRefine(({ role_memberships, upstream }, context) => {
  if (role_memberships !== undefined && upstream.memberships_user !== undefined) {
    context.addIssue({
      code: 'custom',
      path: ['upstream', 'memberships_user'],
      message: 'role memberships come either from here or from "role_memberships", not from both',
    })
  }
  const message = upstreamSettingsProblem(upstream)
  if (message !== undefined) {
    context.addIssue({ code: 'custom', path: ['upstream', 'sslmode'], message })
  }
})

/** Settings as they are written: snake_case, defaults left out. */
export type SettingsInput = z.input<typeof settingsSchema>

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name
type CamelKeys<T> = { readonly [Key in keyof T as Key extends string ? Camel<Key> : Key]: T[Key] }

type Written = z.output<typeof settingsSchema>

/** Settings as the code has them: camelCase, complete, times in milliseconds. */
export type Settings = Omit<CamelKeys<Written>, 'upstream'> & {
  readonly upstream: CamelKeys<Written['upstream']>
  /** Relative paths in the settings start here. */
  readonly baseDirectory: string
}

/** Names of settings change once, here. */
export function toSettings(written: Written, baseDirectory: string): Settings {
  const { upstream: behind, ...rest } = written
  return Object.freeze({
    ...camelKeys(rest),
    upstream: Object.freeze(camelKeys(behind)),
    baseDirectory,
  })
}

function camelKeys<T extends object>(written: T): CamelKeys<T> {
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value as unknown,
    ]),
  ) as CamelKeys<T>
}
