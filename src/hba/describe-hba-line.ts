/**
 * Rules as rows of `pg_hba_file_rules` (`hbafuncs.c`).
 *
 * @module
 */
import type { AuthRecord } from '../auth-file/read-auth-file.ts'
import { type ByteString, fromText, toText } from '../byte-string.ts'
import type { HbaAddress, HbaLine } from './hba-line.ts'
import { formatIpAddress } from './ip-address.ts'

/** The columns of `pg_hba_file_rules`, in its order. */
export interface HbaFileRule {
  readonly ruleNumber: number | null
  readonly fileName: string
  readonly lineNumber: number
  readonly type: string | null
  readonly database: readonly string[] | null
  readonly userName: readonly string[] | null
  readonly address: string | null
  readonly netmask: string | null
  readonly authMethod: string | null
  readonly options: readonly string[] | null
  readonly error: string | null
}

/** The row of a rule; words are shown without their quotes, masks always in full. */
export function describeHbaLine(line: HbaLine, warning?: string): HbaFileRule {
  const options = describeOptions(line)
  return {
    ruleNumber: line.ruleNumber ?? null,
    fileName: line.file,
    lineNumber: line.line,
    type: line.connType,
    database: line.databases.map(({ token }) => toText(token.value)),
    userName: line.users.map(({ token }) => toText(token.value)),
    ...describeAddress(line.address),
    authMethod: line.method,
    options: options.length === 0 ? null : options,
    error: warning ?? null,
  }
}

/** The row of a line that is not a rule. */
export function describeHbaError(
  { file, line }: AuthRecord,
  error: string | null,
  ruleNumber: number | undefined,
): HbaFileRule {
  return {
    ruleNumber: ruleNumber ?? null,
    fileName: file,
    lineNumber: line,
    type: null,
    database: null,
    userName: null,
    address: null,
    netmask: null,
    authMethod: null,
    options: null,
    error,
  }
}

function describeAddress(address: HbaAddress | undefined): {
  address: string | null
  netmask: string | null
} {
  switch (address?.kind) {
    case undefined:
      return { address: null, netmask: null }
    case 'network':
      return { address: formatIpAddress(address.address), netmask: formatIpAddress(address.mask) }
    case 'hostname':
      return { address: toText(address.name), netmask: null }
    case 'all':
    case 'samehost':
    case 'samenet':
      return { address: address.kind, netmask: null }
  }
}

// get_hba_options(): clientname and validator.* are not shown.
function describeOptions({ map, clientCert, oauth }: HbaLine): string[] {
  const shown: Readonly<Record<string, ByteString | undefined>> = {
    map,
    clientcert: clientCert === undefined ? undefined : fromText(clientCert),
    issuer: oauth?.issuer,
    scope: oauth?.scope,
    validator: oauth === undefined ? undefined : fromText(oauth.validator),
    delegate_ident_mapping: oauth?.delegateIdentMapping === true ? fromText('true') : undefined,
    token_in_password: oauth?.tokenInPassword === true ? fromText('true') : undefined,
  }
  return Object.entries(shown).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${toText(value)}`],
  )
}
