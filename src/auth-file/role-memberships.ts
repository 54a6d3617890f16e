/**
 * Who is a member of which role (`acl.c: is_member_of_role_nosuper()`).
 *
 * @module
 */
import { type ByteString, fromText } from '../byte-string.ts'
import { MembershipsUnknownError } from '../errors.ts'

/** Asked by `+role`, `samerole` and `samegroup`. */
export interface RoleMemberships {
  /**
   * True for a direct or indirect member and for the role itself; false for unknown roles.
   *
   * @throws MembershipsUnknownError where nobody knows yet; whoever asks for a login refuses it then.
   */
  isMember(role: ByteString, group: ByteString): boolean
}

/** Of a source that has not answered, and perhaps is never asked. */
export const unknownMemberships: RoleMemberships = {
  isMember: () => {
    throw new MembershipsUnknownError()
  },
}

/** A group role and its direct members, as in `[role_memberships]`. */
export type MembershipTable = Readonly<Record<string, readonly string[]>>

/**
 * Memberships from a table of group roles and their direct members.
 *
 * Inherited or not, a member is a member; being a superuser makes nobody one.
 *
 * @example
 * ```ts
 * const memberships = staticMemberships({ developers: ['alice'], staff: ['developers'] })
 * ```
 */
export function staticMemberships(table: MembershipTable): RoleMemberships {
  const groupsOf = new Map<ByteString, ByteString[]>()
  for (const [group, members] of Object.entries(table)) {
    for (const member of members) {
      const name = fromText(member)
      const groups = groupsOf.get(name) ?? []
      groups.push(fromText(group))
      groupsOf.set(name, groups)
    }
  }
  const closures = new Map<ByteString, ReadonlySet<ByteString>>()
  for (const role of groupsOf.keys()) {
    closures.set(role, closureOf(role, groupsOf))
  }
  return {
    isMember: (role, group) => role === group || (closures.get(role)?.has(group) ?? false),
  }
}

function closureOf(
  role: ByteString,
  groupsOf: ReadonlyMap<ByteString, readonly ByteString[]>,
): ReadonlySet<ByteString> {
  const found = new Set<ByteString>([role])
  // A Set hands out what is added while it is being walked, so cycles end.
  for (const name of found) {
    for (const group of groupsOf.get(name) ?? []) {
      found.add(group)
    }
  }
  return found
}
