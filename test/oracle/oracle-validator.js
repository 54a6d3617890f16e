/** What `oracle-validator.c` is for PostgreSQL: it does what its token says. */
import { Buffer } from 'node:buffer'

export const apiVersion = 1

export function validate(_state, { token }) {
  const [word, hex] = token.split('.')
  const name = hex === undefined ? undefined : Buffer.from(hex, 'hex').toString()
  switch (word) {
    case 'accept':
      return { authorized: true, authnId: name }
    case 'anonymous':
      return { authorized: true }
    case 'empty':
      return { authorized: true, authnId: '' }
    case 'deny':
      return { authorized: false, authnId: name }
    case 'fail':
      return false
    default:
      return { authorized: false }
  }
}
