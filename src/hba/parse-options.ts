/**
 * The options after the method (`hba.c: parse_hba_auth_opt()`, PostgreSQL 19, and our own).
 *
 * @module
 */
import type { AuthToken } from '../auth-file/auth-token.ts'
import { type ByteString, toText } from '../byte-string.ts'
import type { HbaConnectionType, HbaLine, HbaMethod } from './hba-line.ts'
import type { LineErrors } from './line-errors.ts'

/** What the options of a rule say, before they are checked together. */
export interface RawOptions {
  map: ByteString | undefined
  clientCert: HbaLine['clientCert']
  clientName: HbaLine['clientName']
  issuer: ByteString | undefined
  scope: ByteString | undefined
  validator: ByteString | undefined
  delegateIdentMapping: boolean
  tokenInPassword: boolean
  readonly validatorOptions: Map<string, string>
}

interface OptionPlace {
  readonly connType: HbaConnectionType
  readonly method: HbaMethod
  readonly errors: LineErrors
}

// Options of methods that do not work here, and where PostgreSQL allows them.
const FOREIGN_OPTIONS: Readonly<Record<string, string>> = {
  pamservice: 'pam',
  pam_use_hostname: 'pam',
  ldapurl: 'ldap',
  ldaptls: 'ldap',
  ldapscheme: 'ldap',
  ldapserver: 'ldap',
  ldapport: 'ldap',
  ldapbinddn: 'ldap',
  ldapbindpasswd: 'ldap',
  ldapsearchattribute: 'ldap',
  ldapsearchfilter: 'ldap',
  ldapbasedn: 'ldap',
  ldapprefix: 'ldap',
  ldapsuffix: 'ldap',
  krb_realm: 'gssapi and sspi',
  include_realm: 'gssapi and sspi',
  compat_realm: 'sspi',
  upn_username: 'sspi',
}

const VALIDATOR_PREFIX = 'validator.'

/** Reads the remaining fields; commas separate options as well as blanks do. */
export function parseOptions(
  fields: readonly (readonly AuthToken[])[],
  place: OptionPlace,
): RawOptions {
  const options: RawOptions = {
    map: undefined,
    clientCert: undefined,
    clientName: 'CN',
    issuer: undefined,
    scope: undefined,
    validator: undefined,
    delegateIdentMapping: false,
    tokenInPassword: false,
    validatorOptions: new Map(),
  }
  for (const { value } of fields.flat()) {
    const equals = value.indexOf('=')
    if (equals === -1) {
      place.errors.fail(`authentication option not in name=value format: ${toText(value)}`)
    }
    const name = value.slice(0, equals) as ByteString
    parseOption(name, value.slice(equals + 1) as ByteString, options, place)
  }
  return options
}

function parseOption(
  name: ByteString,
  value: ByteString,
  options: RawOptions,
  place: OptionPlace,
): void {
  const { method, errors } = place
  switch (name as string) {
    case 'map':
      if (method !== 'cert' && method !== 'oauth') {
        failMethod(name, 'ident, peer, gssapi, sspi, cert, and oauth', errors)
      }
      options.map = value
      return
    case 'clientcert':
      options.clientCert = parseClientCert(value, place)
      return
    case 'clientname':
      options.clientName = parseClientName(value, place)
      return
    case 'issuer':
    case 'scope':
    case 'validator':
      requireOAuth(name, place)
      options[name as string as 'issuer' | 'scope' | 'validator'] = value
      return
    case 'delegate_ident_mapping':
      requireOAuth(name, place)
      // Every other value, `true` included, means off.
      options.delegateIdentMapping = value === '1'
      return
    case 'token_in_password':
      requireOAuth(name, place)
      options.tokenInPassword = parseTokenInPassword(value, place)
      return
    default:
      parseOtherOption(name, value, options, place)
  }
}

function parseOtherOption(
  name: ByteString,
  value: ByteString,
  options: RawOptions,
  place: OptionPlace,
): void {
  if (name.startsWith(VALIDATOR_PREFIX)) {
    requireOAuth(name, place)
    const option = name.slice(VALIDATOR_PREFIX.length)
    if (!/^[A-Za-z0-9_-]+$/.test(option)) {
      place.errors.fail(`invalid OAuth validator option name: "${toText(name)}"`, {
        viewMessage: null,
      })
    }
    options.validatorOptions.set(option, toText(value))
    return
  }
  const methods = Object.hasOwn(FOREIGN_OPTIONS, name) ? FOREIGN_OPTIONS[name] : undefined
  if (methods !== undefined) {
    failMethod(name, methods, place.errors)
  }
  place.errors.fail(`unrecognized authentication option name: "${toText(name)}"`)
}

function requireOAuth(name: ByteString, { method, errors }: OptionPlace): void {
  if (method !== 'oauth') {
    failMethod(name, 'oauth', errors)
  }
}

function failMethod(name: ByteString, methods: string, errors: LineErrors): never {
  errors.fail(
    `authentication option "${toText(name)}" is only valid for authentication methods ${methods}`,
  )
}

function parseClientCert(
  value: ByteString,
  { connType, method, errors }: OptionPlace,
): 'verify-ca' | 'verify-full' {
  if (connType !== 'hostssl') {
    errors.fail('clientcert can only be configured for "hostssl" rows')
  }
  switch (value as string) {
    case 'verify-full':
      return 'verify-full'
    case 'verify-ca':
      if (method === 'cert') {
        errors.fail('clientcert only accepts "verify-full" when using "cert" authentication', {
          viewMessage:
            'clientcert can only be set to "verify-full" when using "cert" authentication',
        })
      }
      return 'verify-ca'
    default:
      return errors.fail(`invalid value for clientcert: "${toText(value)}"`, { viewMessage: null })
  }
}

function parseClientName(value: ByteString, { connType, errors }: OptionPlace): 'CN' | 'DN' {
  if (connType !== 'hostssl') {
    errors.fail('clientname can only be configured for "hostssl" rows')
  }
  const name: string = value
  if (name === 'CN' || name === 'DN') {
    return name
  }
  return errors.fail(`invalid value for clientname: "${toText(value)}"`, { viewMessage: null })
}

// A token in a password travels as it is, so nobody may be able to listen.
function parseTokenInPassword(value: ByteString, { connType, errors }: OptionPlace): boolean {
  if (connType !== 'hostssl' && connType !== 'local') {
    errors.fail('token_in_password can only be configured for "hostssl" and "local" rows')
  }
  if (value !== '0' && value !== '1') {
    errors.fail(`invalid value for token_in_password: "${toText(value)}"`)
  }
  return value === '1'
}
