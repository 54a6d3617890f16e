/**
 * One record as a rule (`hba.c: parse_hba_line()`, PostgreSQL 19, and our own method `upstream`).
 *
 * @module
 */
import type { AuthToken } from '../auth-file/auth-token.ts'
import type { AuthRecord } from '../auth-file/read-auth-file.ts'
import { toText } from '../byte-string.ts'
import type { ConfigFileError } from '../errors.ts'
import { checkOAuthOptions } from './check-oauth-options.ts'
import type { HbaConnectionType, HbaLine, HbaLoadContext, HbaMethod } from './hba-line.ts'
import { LineErrors } from './line-errors.ts'
import { parseAddress } from './parse-address.ts'
import { parseDatabase, parseUser } from './parse-names.ts'
import { parseOptions } from './parse-options.ts'

/** A rule, and what should be said of it although it loads. */
export interface ParsedHbaLine {
  readonly line: Omit<HbaLine, 'ruleNumber'>
  readonly warning: ConfigFileError | undefined
  /** PostgreSQL's view forgets the warning of a rule whose validator has been checked. */
  readonly warnsInView: boolean
}

/** @throws {@link ConfigFileError} for the first thing that is wrong. */
export function parseHbaLine(record: AuthRecord, context: HbaLoadContext): ParsedHbaLine {
  const errors = new LineErrors(record, context.memberships !== 'none')
  const fields = record.fields[Symbol.iterator]()
  const next = (): readonly AuthToken[] | undefined => fields.next().value
  const required = (what: string): readonly AuthToken[] =>
    next() ?? errors.fail(`end-of-line before ${what}`)

  const connType = parseConnectionType(next() ?? [], errors)
  const warning = connectionWarning(connType, context, errors)
  errors.warning = warning
  const databases = required('database specification').map((it) => parseDatabase(it, errors))
  const users = required('role specification').map((it) => parseUser(it, errors))
  const address =
    connType === 'local'
      ? undefined
      : parseAddress(required('IP address specification'), next, errors)
  const method = parseMethod(required('authentication method'), errors)
  if (method === 'cert' && connType !== 'hostssl') {
    errors.fail('cert authentication is only supported on hostssl connections')
  }
  const options = parseOptions([...fields], { connType, method, errors })
  const oauth = method === 'oauth' ? checkOAuthOptions(options, context, errors) : undefined
  const { file, line, raw } = record
  return {
    line: {
      file,
      line,
      raw,
      connType,
      databases,
      users,
      address,
      method,
      oauth,
      map: options.map,
      clientCert: method === 'cert' ? 'verify-full' : options.clientCert,
      clientName: options.clientName,
    },
    warning,
    warnsInView: warning !== undefined && oauth === undefined,
  }
}

const CONNECTION_TYPES = new Set<string>([
  'local',
  'host',
  'hostssl',
  'hostnossl',
  'hostgssenc',
  'hostnogssenc',
] satisfies HbaConnectionType[])

function parseConnectionType(field: readonly AuthToken[], errors: LineErrors): HbaConnectionType {
  if (field.length !== 1) {
    errors.fail('multiple values specified for connection type', {
      hint: 'Specify exactly one connection type per line.',
    })
  }
  const type = field[0]?.value ?? ''
  if (!CONNECTION_TYPES.has(type)) {
    errors.fail(`invalid connection type "${field[0] === undefined ? '' : toText(field[0].value)}"`)
  }
  return type as HbaConnectionType
}

function connectionWarning(
  connType: HbaConnectionType,
  { ssl }: HbaLoadContext,
  errors: LineErrors,
): ConfigFileError | undefined {
  if (connType === 'hostssl' && !ssl) {
    return errors.make('hostssl record cannot match because SSL is disabled', {
      hint: 'Set ssl = true.',
    })
  }
  if (connType === 'hostgssenc') {
    return errors.make(
      'hostgssenc record cannot match because GSSAPI is not supported by this build',
    )
  }
  return undefined
}

const METHODS = new Set<string>([
  'oauth',
  'reject',
  'trust',
  'cert',
  'upstream',
] satisfies HbaMethod[])

// Methods of PostgreSQL 19 that a proxy in front of it does not do; `radius` is gone in 19.
const METHODS_NOT_SUPPORTED = new Set<string>([
  'ident',
  'peer',
  'password',
  'md5',
  'scram-sha-256',
  'gss',
  'sspi',
  'pam',
  'bsd',
  'ldap',
])

function parseMethod(field: readonly AuthToken[], errors: LineErrors): HbaMethod {
  const [token] = field
  if (token === undefined || field.length > 1) {
    return errors.fail('multiple values specified for authentication type', {
      hint: 'Specify exactly one authentication type per line.',
    })
  }
  if (METHODS.has(token.value)) {
    return token.value as string as HbaMethod
  }
  const name = toText(token.value)
  if (METHODS_NOT_SUPPORTED.has(token.value)) {
    errors.fail(`invalid authentication method "${name}": not supported by this build`)
  }
  return errors.fail(`invalid authentication method "${name}"`)
}
