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
import { type IpAddress, isInNetwork, prefixLength } from './ip-address.ts'
import type { HbaQuery } from './match-hba-line.ts'

/** A rule with more pairs of a database and a user than this is left to the linear scan. */
export const MAX_PAIRS_PER_RULE = 4096

/** Lines for sockets, TCP with TLS, TCP without, TCP with and without. */
type Channel = 'local' | 'tls' | 'plain' | 'any'

const ANY = 0
const REPLICATION = 1
const FIRST_NAME = 2

/**
 * The rules of one pair of names, in order: one, a few, or many as a table. Most pairs of a large file
 * have one, which then costs a number.
 */
type Bucket = number | number[] | NetworkTables

/** So many rules are tried one by one faster than they are looked up. */
const FEW = 8

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

  readonly #lines: readonly HbaLine[]

  constructor(lines: readonly HbaLine[]) {
    this.#lines = lines
  }

  /** Takes a rule in, after all before it, unless it has something that only the linear scan can decide. */
  add(line: HbaLine, rule: number): boolean {
    const channel = channelOf(line)
    if (channel === undefined || !isIndexed(line)) {
      return false
    }
    for (const { kind, token } of line.databases) {
      const database =
        kind === 'name' ? intern(this.#databases, token.value) : kind === 'all' ? ANY : REPLICATION
      for (const user of line.users) {
        const id = user.kind === 'name' ? intern(this.#users, user.token.value) : ANY
        this.#put(channel, database, id, rule)
      }
    }
    return true
  }

  /** Builds the tables; nothing is added afterwards. */
  finish(): void {
    for (const buckets of Object.values(this.#buckets)) {
      for (const [key, bucket] of buckets) {
        if (Array.isArray(bucket) && bucket.length > FEW) {
          buckets.set(key, new NetworkTables(bucket.map((rule) => this.#networkOf(rule))))
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
    if (bucket instanceof NetworkTables) {
      return bucket.lookup(client)
    }
    if (typeof bucket === 'number') {
      return this.#covers(bucket, client) ? bucket : NO_RULE
    }
    return bucket.find((rule) => this.#covers(rule, client)) ?? NO_RULE
  }

  #covers(rule: number, client: IpAddress | undefined): boolean {
    const address = this.#lines[rule]?.address
    return (
      address?.kind !== 'network' ||
      (client !== undefined && isInNetwork(client, address.address, address.mask))
    )
  }

  #networkOf(rule: number): IndexedNetwork | number {
    const address = this.#lines[rule]?.address
    return address?.kind === 'network'
      ? { address: address.address, prefix: prefixLength(address.mask) ?? 0, rule }
      : rule
  }

  #put(channel: Channel, database: number, user: number, rule: number): void {
    const buckets = this.#buckets[channel]
    const key = keyOf(database, user)
    const bucket = buckets.get(key)
    if (bucket === undefined) {
      buckets.set(key, rule)
    } else if (Array.isArray(bucket)) {
      bucket.push(rule)
    } else if (typeof bucket === 'number') {
      buckets.set(key, [bucket, rule])
    }
  }
}

/** The networks of many rules, by family. */
class NetworkTables {
  /** First rule that covers every address. */
  readonly #all: number
  readonly #tables: Readonly<Record<4 | 6, IntervalTable>>

  /** @param rules - networks, and bare numbers of rules for every address. */
  constructor(rules: readonly (IndexedNetwork | number)[]) {
    const networks = rules.filter((rule) => typeof rule !== 'number')
    const table = (family: 4 | 6): IntervalTable =>
      new IntervalTable(networks.filter(({ address }) => address.family === family))
    this.#all = Math.min(NO_RULE, ...rules.filter((rule) => typeof rule === 'number').slice(0, 1))
    this.#tables = { 4: table(4), 6: table(6) }
  }

  lookup(client: IpAddress | undefined): number {
    return client === undefined
      ? this.#all
      : Math.min(this.#all, this.#tables[client.family].lookup(client))
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

function isIndexed({ address, databases, users }: HbaLine): boolean {
  const plainAddress =
    address === undefined ||
    address.kind === 'all' ||
    (address.kind === 'network' && prefixLength(address.mask) !== undefined)
  return (
    plainAddress &&
    databases.length * users.length <= MAX_PAIRS_PER_RULE &&
    databases.every(({ kind }) => kind === 'all' || kind === 'name' || kind === 'replication') &&
    users.every(({ kind }) => kind === 'all' || kind === 'name')
  )
}
