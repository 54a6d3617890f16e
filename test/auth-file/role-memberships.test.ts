import { describe, expect, test } from 'vitest'

import { staticMemberships } from '../../src/auth-file/role-memberships.ts'
import { type ByteString, fromText } from '../../src/byte-string.ts'

const memberships = staticMemberships({
  dev: ['ann', 'ops', 'é'],
  staff: ['dev'],
  ops: ['bob', 'dev'],
  constructor: ['ann'],
})

describe('a role is a member', () => {
  test.each([
    ['ann', 'dev'],
    ['ann', 'staff'],
    ['bob', 'dev'],
    ['ops', 'ops'],
    ['stranger', 'stranger'],
    ['é', 'staff'],
    ['ann', 'constructor'],
  ])('%s of %s', (role, group) => {
    expect(memberships.isMember(fromText(role), fromText(group))).toBe(true)
  })
})

describe('a role is not a member', () => {
  test.each([
    ['dev', 'ann'],
    ['staff', 'dev'],
    ['carol', 'dev'],
    ['ann', 'nogroup'],
    ['Ann', 'dev'],
    ['bob', 'constructor'],
    ['ann', 'toString'],
    ['__proto__', 'dev'],
    ['ann', ''],
  ])('%s of %s', (role, group) => {
    expect(memberships.isMember(fromText(role), fromText(group))).toBe(false)
  })

  test('by other bytes for the same letter', () => {
    expect(memberships.isMember('\xe9' as ByteString, 'dev' as ByteString)).toBe(false)
  })
})
