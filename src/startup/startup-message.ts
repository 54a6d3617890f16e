/**
 * The StartupMessage: who wants in, and to what (`ProcessStartupPacket()` in `backend_startup.c`).
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import { type ByteString, fromBytes, fromText, toText } from '../byte-string.ts'
import {
  InvalidAuthorizationError,
  InvalidParameterError,
  ProtocolViolationError,
} from '../errors.ts'
import { MAX_NAME_LENGTH, PROTOCOL_3_0, PROTOCOL_3_2 } from '../protocol/limits.ts'

/** `logical` is `replication=database`: matched by rules like an ordinary connection. */
export type Replication = 'none' | 'physical' | 'logical'

export type StartupParameter = readonly [name: ByteString, value: ByteString]

export interface StartupMessage {
  /** What both sides speak from here on: 3.0 or 3.2 (a request for 3.1 is served as it is, as 3.0). */
  readonly protocolVersion: number
  /** The requested role, cut to 63 bytes; never empty. */
  readonly user: ByteString
  /** Cut to 63 bytes; the role's name where none was given; empty for physical replication. */
  readonly database: ByteString
  readonly replication: Replication
  /** `options` and settings, in the client's order, without what stands above. */
  readonly parameters: readonly StartupParameter[]
  readonly applicationName: ByteString | undefined
}

/**
 * Reads the packet behind its length word.
 *
 * @param payload - protocol version, name and value pairs, terminator.
 * @throws ReportError with PostgreSQL's texts. The major version has been checked already.
 */
export function parseStartupMessage(payload: Buffer): StartupMessage {
  const requested = payload.readUInt32BE(0)
  const pairs = parsePairs(payload)
  const replication = parseReplication(lastValue(pairs, 'replication'))
  const user = cutName(lastValue(pairs, 'user') ?? NO_NAME)
  if (user === '') {
    throw new InvalidAuthorizationError('no PostgreSQL user name specified in startup packet')
  }
  return {
    protocolVersion: requested >= PROTOCOL_3_2 ? PROTOCOL_3_2 : PROTOCOL_3_0,
    user,
    database: databaseName(cutName(lastValue(pairs, 'database') ?? NO_NAME), user, replication),
    replication,
    parameters: pairs.filter(([name]) => !SPECIAL.has(name) && !isProtocolOption(name)),
    applicationName: lastValue(pairs, 'application_name'),
  }
}

/** What a NegotiateProtocolVersion says. */
export interface ProtocolNegotiation {
  readonly version: number
  readonly unsupportedOptions: readonly ByteString[]
}

/**
 * The NegotiateProtocolVersion that the client must read first, if any: it asked for a newer minor
 * version than 3.2, or for protocol options (there are none yet). PostgreSQL sends it before it looks
 * at the names.
 */
export function negotiateProtocol(payload: Buffer): ProtocolNegotiation | undefined {
  const requested = payload.readUInt32BE(0)
  const unsupportedOptions = payload.includes(PROTOCOL_OPTION_PREFIX)
    ? parsePairs(payload)
        .map(([name]) => name)
        .filter(isProtocolOption)
    : []
  if (requested <= PROTOCOL_3_2 && unsupportedOptions.length === 0) {
    return undefined
  }
  return { version: Math.min(requested, PROTOCOL_3_2), unsupportedOptions }
}

const NO_NAME = fromText('')
const SPECIAL: ReadonlySet<string> = new Set(['user', 'database', 'replication'])

function parsePairs(payload: Buffer): StartupParameter[] {
  const pairs: StartupParameter[] = []
  let at = 4
  while (at < payload.length && payload[at] !== 0) {
    const nameEnd = payload.indexOf(0, at)
    const valueEnd = nameEnd < 0 ? -1 : payload.indexOf(0, nameEnd + 1)
    // One byte of any kind may stand where the terminator belongs (ProcessStartupPacket()).
    if (valueEnd < 0) {
      break
    }
    pairs.push([fromBytes(payload, at, nameEnd), fromBytes(payload, nameEnd + 1, valueEnd)])
    at = valueEnd + 1
  }
  if (at !== payload.length - 1) {
    throw new ProtocolViolationError(
      'invalid startup packet layout: expected terminator as last byte',
    )
  }
  return pairs
}

function lastValue(pairs: readonly StartupParameter[], wanted: string): ByteString | undefined {
  return pairs.findLast(([name]) => name === wanted)?.[1]
}

function cutName(name: ByteString): ByteString {
  return name.slice(0, MAX_NAME_LENGTH) as ByteString
}

function databaseName(
  database: ByteString,
  user: ByteString,
  replication: Replication,
): ByteString {
  if (replication === 'physical') {
    return NO_NAME
  }
  return database === '' ? user : database
}

const PROTOCOL_OPTION_PREFIX = '_pq_.'
const isProtocolOption = (name: string): boolean => name.startsWith(PROTOCOL_OPTION_PREFIX)

function parseReplication(value: ByteString | undefined): Replication {
  if (value === undefined) {
    return 'none'
  }
  if (value === 'database') {
    return 'logical'
  }
  const physical = parseBoolean(value)
  if (physical === undefined) {
    throw new InvalidParameterError(
      `invalid value for parameter "replication": "${toText(value)}"`,
      { hint: 'Valid values are: "false", 0, "true", 1, "database".' },
    )
  }
  return physical ? 'physical' : 'none'
}

const BOOLEANS: readonly (readonly [word: string, shortest: number, value: boolean])[] = [
  ['true', 1, true],
  ['false', 1, false],
  ['yes', 1, true],
  ['no', 1, false],
  ['on', 2, true],
  ['off', 2, false],
  ['1', 1, true],
  ['0', 1, false],
]

/** `parse_bool()`: any unique prefix of a word, in any case. */
function parseBoolean(text: string): boolean | undefined {
  const lower = text.toLowerCase()
  return BOOLEANS.find(
    ([word, shortest]) => lower.length >= shortest && word.startsWith(lower),
  )?.[2]
}

/**
 * What the server behind is asked for: the role and database that were authorized, and the client's own
 * settings in its order. Never what the client wrote in place of the former.
 */
export function upstreamParameters(
  startup: StartupMessage,
  { role, database }: { readonly role: ByteString; readonly database: ByteString },
): readonly StartupParameter[] {
  const replication = REPLICATION_VALUE[startup.replication]
  return [
    [fromText('user'), role],
    ...(database === '' ? [] : [[fromText('database'), database] as const]),
    ...(replication === undefined
      ? []
      : [[fromText('replication'), fromText(replication)] as const]),
    ...startup.parameters,
  ]
}

const REPLICATION_VALUE = { none: undefined, physical: 'true', logical: 'database' } as const
