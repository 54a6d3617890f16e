import { expect, test } from 'vitest'
import { fromText } from '../../src/byte-string.ts'
import { RoleGraph } from '../../src/memberships/role-graph.ts'

/** `role>granted`, or a role alone. */
function graph(...entries: readonly string[]): (role: string, group: string) => boolean {
  const roles = new RoleGraph(
    entries.map((entry) => {
      const [role = '', granted] = entry.split('>')
      return {
        role: fromText(role),
        grantedRole: granted === undefined ? undefined : fromText(granted),
      }
    }),
  )
  return (role, group) => roles.isMember(fromText(role), fromText(group))
}

test('a role that was granted another is a member, and one that was not is none', () => {
  const isMember = graph('ann>dev', 'dev', 'bob')
  expect(isMember('ann', 'dev')).toBe(true)
  expect(isMember('bob', 'dev')).toBe(false)
  expect(isMember('dev', 'ann')).toBe(false)
})

test('members of members are members, however far', () => {
  const isMember = graph('a>b', 'b>c', 'c>d', 'd')
  expect(isMember('a', 'd')).toBe(true)
  expect(isMember('b', 'a')).toBe(false)
})

test('a role is a member of itself only if there is such a role', () => {
  const isMember = graph('ann')
  expect(isMember('ann', 'ann')).toBe(true)
  expect(isMember('ghost', 'ghost')).toBe(false)
  expect(isMember('ann', 'ghost')).toBe(false)
  expect(isMember('ghost', 'ann')).toBe(false)
})

test('a role with two grants has both', () => {
  const isMember = graph('ann>dev', 'ann>ops', 'ann>dev', 'dev', 'ops')
  expect(isMember('ann', 'dev')).toBe(true)
  expect(isMember('ann', 'ops')).toBe(true)
})

test('a circle, which no server has, ends', () => {
  const isMember = graph('a>b', 'b>a', 'c')
  expect(isMember('a', 'b')).toBe(true)
  expect(isMember('a', 'c')).toBe(false)
})

test('questions about one role after another are answered for each', () => {
  const isMember = graph('ann>dev', 'bob>ops', 'dev', 'ops')
  for (let round = 0; round < 3; round += 1) {
    expect(isMember('ann', 'dev')).toBe(true)
    expect(isMember('bob', 'dev')).toBe(false)
    expect(isMember('ann', 'ops')).toBe(false)
    expect(isMember('bob', 'ops')).toBe(true)
  }
})
