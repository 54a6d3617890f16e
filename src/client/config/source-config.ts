/**
 * A token source as settings: from a command line, a settings file or a connection string.
 *
 * @module
 */
import { z } from 'zod'
import { TokenConfigError } from '../errors.ts'
import type { GrantOptions } from '../grants/grant-client.ts'
import { sources } from '../sources/index.ts'
import type { TokenCallback } from '../token/callback.ts'

const text = z.string().min(1)
const grant = {
  issuer: text.optional(),
  clientId: text.optional(),
  clientSecret: z.string().optional(),
  clientAuthentication: z.enum(['basic', 'post']).optional(),
  scope: z.string().optional(),
  resource: text.optional(),
  audience: text.optional(),
  ca: text.optional(),
  allowInsecureIssuer: z.boolean().optional(),
}

/** The properties of each kind of source; anything else is an error. */
const SCHEMAS = {
  test: z.strictObject({ environment: z.literal('test') }),
  azure: z.strictObject({
    environment: z.literal('azure'),
    resource: text,
    clientId: text.optional(),
  }),
  gcp: z.strictObject({ environment: z.literal('gcp'), resource: text }),
  k8s: z.strictObject({ environment: z.literal('k8s'), path: text.optional() }),
  'github-actions': z.strictObject({ environment: z.literal('github-actions'), audience: text }),
  gitlab: z.strictObject({ environment: z.literal('gitlab'), variable: text }),
  env: z.strictObject({ environment: z.literal('env'), variable: text }),
  file: z.strictObject({ environment: z.literal('file'), path: text }),
  exec: z.strictObject({
    environment: z.literal('exec'),
    command: z.tuple([text], z.string()),
    output: z.enum(['json', 'text']).optional(),
  }),
  'client-credentials': z.strictObject({ environment: z.literal('client-credentials'), ...grant }),
  device: z.strictObject({ environment: z.literal('device'), ...grant }),
  code: z.strictObject({
    environment: z.literal('code'),
    redirectUri: text.optional(),
    ...grant,
  }),
} as const

/** The names of the built-in sources in settings. */
export type SourceEnvironment = keyof typeof SCHEMAS

/** The names, for help texts and errors. */
export const SOURCE_ENVIRONMENTS: readonly SourceEnvironment[] = Object.keys(
  SCHEMAS,
) as SourceEnvironment[]

/** Settings of a source; which properties there are depends on `environment`. */
export interface SourceConfig {
  readonly environment: string
  readonly [property: string]: unknown
}

/**
 * Makes the source that settings describe.
 *
 * @throws TokenConfigError naming what is wrong; no value is repeated, for it may be a secret.
 */
export function sourceFromConfig(config: SourceConfig): TokenCallback<undefined> {
  const { environment, password, username, ...rest } = config
  if (!Object.hasOwn(SCHEMAS, environment)) {
    throw new TokenConfigError(
      `unknown token source ${JSON.stringify(environment)}; known are ${SOURCE_ENVIRONMENTS.join(', ')}`,
    )
  }
  if (password !== undefined) {
    throw new TokenConfigError('a password and a token source exclude each other')
  }
  const name = environment as SourceEnvironment
  if (username !== undefined && name !== 'azure') {
    throw new TokenConfigError(`the token source ${name} takes no user name`)
  }
  // MongoDB's drivers give the client id of an Azure identity as the user name.
  const properties = username === undefined ? rest : { clientId: username, ...rest }
  return build(checked(name, { environment: name, ...properties }))
}

type Checked = z.output<(typeof SCHEMAS)[SourceEnvironment]>

function checked(name: SourceEnvironment, value: object): Checked {
  const result = SCHEMAS[name].safeParse(value)
  if (result.success) {
    return result.data
  }
  const [issue] = result.error.issues
  if (issue?.code === 'unrecognized_keys') {
    throw new TokenConfigError(`the token source ${name} has no property ${issue.keys.join(', ')}`)
  }
  const property = issue?.path.join('.') ?? ''
  throw new TokenConfigError(`the token source ${name} needs a valid ${property}`)
}

function build(config: Checked): TokenCallback<undefined> {
  switch (config.environment) {
    case 'test':
      return sources.file(process.env['OIDC_TOKEN_FILE'] ?? '', { allowLoosePermissions: true })
    case 'azure':
      return sources.azure(config)
    case 'gcp':
      return sources.googleCloud({ audience: config.resource })
    case 'k8s':
      return sources.kubernetes(
        config.path === undefined ? { shared: true } : { path: config.path },
      )
    case 'github-actions':
      return sources.githubActions({ audience: config.audience })
    case 'gitlab':
    case 'env':
      return sources.environment(config.variable)
    case 'file':
      return sources.file(config.path)
    case 'exec':
      return sources.externalCommand(config)
    case 'client-credentials':
      return sources.clientCredentials(grantOptions(config))
    case 'device':
      return sources.deviceFlow(grantOptions(config))
    case 'code':
      return sources.authorizationCode({
        ...grantOptions(config),
        redirectUri: config.redirectUri,
      })
  }
}

function grantOptions(config: GrantOptions & { readonly environment: string }): GrantOptions {
  const { environment: _environment, ...options } = config
  return options
}
