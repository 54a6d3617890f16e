/**
 * Who is a member of what, as the catalog has it (`acl.c: is_member_of_role_nosuper()`).
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import type { ByteString } from '../byte-string.ts'

/** A role that there is, and one that it was granted; every role has at least one of these. */
export interface CatalogEntry {
  readonly role: ByteString
  readonly grantedRole: ByteString | undefined
}

/**
 * The roles of a server and their grants. Inherited or not, a member is a member; being a superuser makes
 * nobody one. A role that there is not is not even a member of itself (`hba.c: is_member()`).
 */
export class RoleGraph implements RoleMemberships {
  readonly #granted = new Map<ByteString, Set<ByteString>>()
  // The rules of a file ask about the same role one after the other. More is not kept: clients choose it.
  #last: { readonly role: ByteString; readonly groups: ReadonlySet<ByteString> } | undefined

  constructor(entries: Iterable<CatalogEntry>) {
    for (const { role, grantedRole } of entries) {
      const granted = this.#granted.get(role) ?? new Set()
      if (grantedRole !== undefined) {
        granted.add(grantedRole)
      }
      this.#granted.set(role, granted)
    }
  }

  /** How many roles there are. */
  get size(): number {
    return this.#granted.size
  }

  isMember(role: ByteString, group: ByteString): boolean {
    if (!this.#granted.has(role) || !this.#granted.has(group)) {
      return false
    }
    if (this.#last?.role !== role) {
      this.#last = { role, groups: this.#groupsOf(role) }
    }
    return this.#last.groups.has(group)
  }

  #groupsOf(role: ByteString): ReadonlySet<ByteString> {
    const found = new Set([role])
    // A Set hands out what is added while it is being walked, so cycles end.
    for (const name of found) {
      for (const group of this.#granted.get(name) ?? []) {
        found.add(group)
      }
    }
    return found
  }
}
