/**
 * The catalog of the server behind: which roles there are and what each was granted.
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util'
import { type ByteString, fromText } from '../byte-string.ts'
import type { Log } from '../log.ts'
import { terminate } from '../protocol/frontend-messages.ts'
import { PROTOCOL_3_0 } from '../protocol/limits.ts'
import { reportedParameters } from '../upstream/greeting.ts'
import { connectUpstream } from '../upstream/connect-upstream.ts'
import type { UpstreamCredential } from '../upstream/credential.ts'
import { withDeadline } from '../upstream/deadline.ts'
import type { UpstreamSettings } from '../upstream/settings.ts'
import { catalogError } from './catalog-error.ts'
import { type CatalogEntry, RoleGraph } from './role-graph.ts'
import { type Row, simpleQuery } from './simple-query.ts'

/** Where the catalog is, and who reads it. */
export interface CatalogTarget {
  readonly upstream: UpstreamSettings
  readonly user: ByteString
  readonly database: ByteString
  readonly credential: UpstreamCredential | undefined
}

/** True where both would read the same catalog over the same kind of connection. */
export function isSameCatalog(a: CatalogTarget, b: CatalogTarget): boolean {
  return a.user === b.user && a.database === b.database && isDeepStrictEqual(a.upstream, b.upstream)
}

// One statement sees one state of the catalog. Nothing in it is looked up by search_path, which belongs
// to whoever made the login role. Options of a grant (ADMIN, INHERIT, SET) make no difference here.
const ROLES_AND_GRANTS = `
SELECT r.rolname, g.rolname
FROM pg_catalog.pg_roles AS r
LEFT JOIN (pg_catalog.pg_auth_members AS m
  JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) m.roleid)
ON m.member OPERATOR(pg_catalog.=) r.oid`

/** For the query, once logged in, in ms. */
const QUERY_TIMEOUT = 10_000

/**
 * Logs in, reads and leaves.
 *
 * Names come as the bytes they are: roles belong to all databases of a server, whose encodings may differ,
 * and to the encoding SQL_ASCII a server converts nothing.
 *
 * @throws UpstreamError, UpstreamRefusedError; the signal's reason when it aborts.
 */
export async function readCatalog(
  { upstream, user, database, credential }: CatalogTarget,
  { signal, log }: { readonly signal: AbortSignal; readonly log: Log },
): Promise<RoleGraph> {
  const parameters = Object.entries({ user, database, client_encoding: fromText('SQL_ASCII') })
  const connection = await connectUpstream(
    upstream,
    {
      version: PROTOCOL_3_0,
      parameters: parameters.map(([name, value]) => [fromText(name), value]),
    },
    { credential, signal, log },
  )
  const { socket } = connection
  try {
    if (reportedParameters(connection.greeting).get('client_encoding') !== 'SQL_ASCII') {
      throw catalogError('encoding', 'the server does not send names in the encoding SQL_ASCII')
    }
    return await withDeadline(signal, QUERY_TIMEOUT, async (deadline) => {
      deadline.addEventListener('abort', () => socket.destroy(), { once: true })
      const entries: CatalogEntry[] = []
      for await (const row of simpleQuery(connection, ROLES_AND_GRANTS)) {
        entries.push(catalogEntry(row))
      }
      socket.end(terminate())
      return new RoleGraph(entries)
    })
  } finally {
    socket.destroySoon()
  }
}

function catalogEntry([role, grantedRole, ...more]: Row): CatalogEntry {
  if (role === undefined || more.length > 0) {
    throw catalogError('protocol_violation', 'received an invalid row')
  }
  return { role, grantedRole }
}
