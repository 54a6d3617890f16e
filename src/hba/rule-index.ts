/**
 * The rules that need only names, a network and TLS or not, indexed by all of them.
 *
 * Names are interned when rules load; what a client sends is looked up and never stored.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'
import type { HbaLine } from './hba-line.ts'
import { type IndexedNetwork, IntervalTable, NO_RULE } from './interval-table.ts'
import { type IpAddress, prefixLength } from './ip-address.ts'
import type { HbaQuery } from './match-hba-line.ts'

/** A rule with more pairs of a database and a user than this is left to the linear scan. */
export const MAX_PAIRS_PER_RULE = 4096

/** Lines for sockets, TCP with TLS, TCP without, TCP with and without. */
type Channel = 'local' | 'tls' | 'plain' | 'any'

const ANY = 0
const REPLICATION = 1
const FIRST_NAME = 2

interface Bucket {
  /** First rule that covers every address. */
  all: number
  readonly networks: Record<4 | 6, IndexedNetwork[]>
  readonly tables: Partial<Record<4 | 6, IntervalTable>>
}

/** Answers which indexed rule is the first to match. */
export class RuleIndex {
  readonly #databases = new Map<ByteString, number>()
  readonly #users = new Map<ByteString, number>()
  readonly #buckets: Record<Channel, Map<number, Bucket>> = {
    local: new Map(),
    tls: new Map(),
    plain: new Map(),
    any: new Map(),
  }

  /** Takes a rule in, unless it has something that only the linear scan can decide. */
  add(line: HbaLine, rule: number): boolean {
    const channel = channelOf(line)
    const network = networkOf(line, rule)
    if (channel === undefined || network === 'unknown' || !isIndexed(line)) {
      return false
    }
    for (const { kind, token } of line.databases) {
      const database =
        kind === 'name' ? intern(this.#databases, token.value) : kind === 'all' ? ANY : REPLICATION
      for (const user of line.users) {
        const id = user.kind === 'name' ? intern(this.#users, user.token.value) : ANY
        this.#put(channel, database, id, network, rule)
      }
    }
    return true
  }

  /** Builds the tables; nothing is added afterwards. */
  finish(): void {
    for (const buckets of Object.values(this.#buckets)) {
      for (const { networks, tables } of buckets.values()) {
        for (const family of [4, 6] as const) {
          if (networks[family].length > 0) {
            tables[family] = new IntervalTable(networks[family])
            networks[family] = []
          }
        }
      }
    }
  }

  /** Index of the first rule that matches, or {@link NO_RULE}. */
  lookup({ connection, client }: HbaQuery): number {
    const user = this.#users.get(connection.user)
    const database = connection.physicalReplication
      ? REPLICATION
      : this.#databases.get(connection.database)
    // Physical replication has no database, so rules for all databases do not cover it.
    const databases = connection.physicalReplication ? [database] : [database, ANY]
    const channels: readonly Channel[] = connection.local
      ? ['local']
      : [connection.tls ? 'tls' : 'plain', 'any']
    let first = NO_RULE
    for (const channel of channels) {
      for (const database of databases) {
        first = Math.min(
          first,
          this.#lookup(channel, database, user, client),
          this.#lookup(channel, database, ANY, client),
        )
      }
    }
    return first
  }

  #lookup(
    channel: Channel,
    database: number | undefined,
    user: number | undefined,
    client: IpAddress | undefined,
  ): number {
    if (database === undefined || user === undefined) {
      return NO_RULE
    }
    const bucket = this.#buckets[channel].get(keyOf(database, user))
    if (bucket === undefined) {
      return NO_RULE
    }
    const table = client === undefined ? undefined : bucket.tables[client.family]
    return client === undefined || table === undefined
      ? bucket.all
      : Math.min(bucket.all, table.lookup(client))
  }

  #put(
    channel: Channel,
    database: number,
    user: number,
    network: IndexedNetwork | undefined,
    rule: number,
  ): void {
    const buckets = this.#buckets[channel]
    const key = keyOf(database, user)
    let bucket = buckets.get(key)
    if (bucket === undefined) {
      bucket = { all: NO_RULE, networks: { 4: [], 6: [] }, tables: {} }
      buckets.set(key, bucket)
    }
    if (network === undefined) {
      bucket.all = Math.min(bucket.all, rule)
    } else {
      bucket.networks[network.address.family].push(network)
    }
  }
}

// Both numbers are below 2^26: no file has so many names.
function keyOf(database: number, user: number): number {
  return database * 2 ** 26 + user
}

function intern(names: Map<ByteString, number>, name: ByteString): number {
  const known = names.get(name)
  if (known !== undefined) {
    return known
  }
  const id = names.size + FIRST_NAME
  names.set(name, id)
  return id
}

function channelOf({ connType }: HbaLine): Channel | undefined {
  switch (connType) {
    case 'local':
      return 'local'
    case 'host':
    case 'hostnogssenc':
      return 'any'
    case 'hostssl':
      return 'tls'
    case 'hostnossl':
      return 'plain'
    case 'hostgssenc':
      return undefined
  }
}

/** Undefined stands for every address, `unknown` for what only the linear scan can decide. */
function networkOf({ address }: HbaLine, rule: number): IndexedNetwork | undefined | 'unknown' {
  switch (address?.kind) {
    case undefined:
    case 'all':
      return undefined
    case 'network': {
      const prefix = prefixLength(address.mask)
      return prefix === undefined ? 'unknown' : { address: address.address, prefix, rule }
    }
    case 'hostname':
    case 'samehost':
    case 'samenet':
      return 'unknown'
  }
}

function isIndexed({ databases, users }: HbaLine): boolean {
  return (
    databases.length * users.length <= MAX_PAIRS_PER_RULE &&
    databases.every(({ kind }) => kind === 'all' || kind === 'name' || kind === 'replication') &&
    users.every(({ kind }) => kind === 'all' || kind === 'name')
  )
}
