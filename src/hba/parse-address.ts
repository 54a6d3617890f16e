/**
 * The address field of a rule, with the mask field where there is one.
 *
 * @module
 */
import { type AuthToken, isKeyword } from '../auth-file/auth-token.ts'
import { type ByteString, toText } from '../byte-string.ts'
import type { HbaAddress } from './hba-line.ts'
import { cidrMask, parseIpAddress } from './ip-address.ts'
import type { LineErrors } from './line-errors.ts'

/**
 * Reads an address.
 *
 * @param nextField - hands out the field after the address, for a separate mask.
 */
export function parseAddress(
  field: readonly AuthToken[],
  nextField: () => readonly AuthToken[] | undefined,
  errors: LineErrors,
): HbaAddress {
  const [token] = field
  if (token === undefined || field.length > 1) {
    return errors.fail('multiple values specified for host address', {
      hint: 'Specify one address range per line.',
    })
  }
  for (const kind of ['all', 'samehost', 'samenet'] as const) {
    if (isKeyword(token, kind)) {
      return { kind }
    }
  }
  const slash = token.value.indexOf('/')
  const host = slash === -1 ? token.value : (token.value.slice(0, slash) as ByteString)
  const address = parseIpAddress(host)
  if (address === undefined) {
    if (slash !== -1) {
      errors.fail(`specifying both host name and CIDR mask is invalid: "${toText(token.value)}"`)
    }
    return { kind: 'hostname', name: host }
  }
  if (slash === -1) {
    const mask = parseMask(nextField(), errors)
    if (mask.family !== address.family) {
      errors.fail('IP address and mask do not match')
    }
    return { kind: 'network', address, mask }
  }
  const mask = cidrMask(token.value.slice(slash + 1), address.family)
  if (mask === undefined) {
    return errors.fail(`invalid CIDR mask in address "${toText(token.value)}"`)
  }
  return { kind: 'network', address, mask }
}

function parseMask(
  field: readonly AuthToken[] | undefined,
  errors: LineErrors,
): { family: 4 | 6; words: readonly number[] } {
  if (field?.[0] === undefined) {
    return errors.fail('end-of-line before netmask specification', {
      hint: 'Specify an address range in CIDR notation, or provide a separate netmask.',
    })
  }
  if (field.length > 1) {
    errors.fail('multiple values specified for netmask')
  }
  const text = field[0].value
  return (
    parseIpAddress(text) ??
    errors.fail(`invalid IP mask "${toText(text)}": Name or service not known`)
  )
}
