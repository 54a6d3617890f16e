/**
 * Numeric addresses as `getaddrinfo(AI_NUMERICHOST)` reads and `getnameinfo(NI_NUMERICHOST)` writes
 * them in glibc, since `pg_hba.conf` means what that says.
 *
 * @module
 */
import { isIPv4, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

/** An address as unsigned 32-bit words, most significant first: one for IPv4, four for IPv6. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly words: readonly number[]
}

/** Reads a numeric address in any form that glibc accepts; undefined for anything else. */
export function parseIpAddress(text: string): IpAddress | undefined {
  return parseIpv4(text) ?? parseIpv6(text)
}

const LAST_PART_LIMITS = [0xffff_ffff, 0xff_ffff, 0xffff, 0xff]
// strtoul() with base 0.
const IPV4_PART = /^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/

// inet_aton(): one to four parts in decimal, octal or hexadecimal; the last fills what is left.
function parseIpv4(text: string): IpAddress | undefined {
  return parseDottedDecimal(text) ?? parseInetAton(text)
}

function parseDottedDecimal(text: string): IpAddress | undefined {
  if (!isIPv4(text)) {
    return undefined
  }
  let word = 0
  let byte = 0
  for (let at = 0; at <= text.length; at++) {
    const code = text.charCodeAt(at)
    if (code >= 0x30) {
      byte = byte * 10 + code - 0x30
    } else {
      word = word * 256 + byte
      byte = 0
    }
  }
  return { family: 4, words: [word] }
}

function parseInetAton(text: string): IpAddress | undefined {
  const parts = text.split('.', 5)
  const limit = LAST_PART_LIMITS[parts.length - 1]
  if (limit === undefined || !parts.every((part) => IPV4_PART.test(part))) {
    return undefined
  }
  const values = parts.map(partValue)
  const last = values.pop() ?? 0
  if (last > limit || values.some((value) => value > 0xff)) {
    return undefined
  }
  const high = values.reduce((sum, value, index) => sum + value * 256 ** (3 - index), 0)
  return { family: 4, words: [high + last] }
}

function partValue(part: string): number {
  const octal = /^0[0-7]+$/.test(part)
  return Number(octal ? `0o${part.slice(1)}` : part)
}

function parseIpv6(text: string): IpAddress | undefined {
  const percent = text.indexOf('%')
  const address = percent === -1 ? text : text.slice(0, percent)
  if (!isIPv6(address)) {
    return undefined
  }
  const words = ipv6Words(address)
  if (percent !== -1 && !isScope(text.slice(percent + 1), words[0] ?? 0)) {
    return undefined
  }
  return { family: 6, words }
}

// __inet6_scopeid_pton(): an interface for link-local addresses, otherwise a number. The scope plays
// no part in comparisons.
function isScope(scope: string, firstWord: number): boolean {
  const linkLocal = firstWord >>> 22 === 0xfe80 >>> 6
  const linkLocalMulticast = (firstWord & 0xff0f_0000) >>> 0 === 0xff02_0000
  if ((linkLocal || linkLocalMulticast) && Object.hasOwn(networkInterfaces(), scope)) {
    return true
  }
  return /^[0-9]+$/.test(scope) && Number(scope) <= 0xffff_ffff
}

// The text is known to be an address. (ipaddr.js would read ::1.2.3.4 as ::ffff:1.2.3.4.)
function ipv6Words(text: string): number[] {
  const [head = [], tail = []] = text.split('::').map(ipv6Groups)
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0)
  const groups = [...head, ...zeros, ...tail]
  return [0, 2, 4, 6].map((at) => (groups[at] ?? 0) * 0x1_0000 + (groups[at + 1] ?? 0))
}

function ipv6Groups(text: string): number[] {
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) {
      const [word = 0] = parseIpv4(group)?.words ?? []
      return [word >>> 16, word & 0xffff]
    }
    return group === '' ? [] : [Number.parseInt(group, 16)]
  })
}

/** The mask that `/n` means; undefined where n is not a number in range (`pg_sockaddr_cidr_mask`). */
export function cidrMask(prefix: string, family: 4 | 6): IpAddress | undefined {
  // strtol() takes leading white space and a sign.
  const bits = /^[ \t\n\v\f\r]*[+-]?[0-9]+$/.test(prefix) ? Number(prefix.trim()) : -1
  return bits >= 0 && bits <= (family === 4 ? 32 : 128) ? prefixMask(bits, family) : undefined
}

/** The mask of the given number of bits; one value for all who ask. */
export function prefixMask(bits: number, family: 4 | 6): IpAddress {
  const masks = family === 4 ? IPV4_MASKS : IPV6_MASKS
  return masks[bits] ?? makeMask(bits, family)
}

const IPV4_MASKS: readonly IpAddress[] = Array.from({ length: 33 }, (_, bits) => makeMask(bits, 4))
const IPV6_MASKS: readonly IpAddress[] = Array.from({ length: 129 }, (_, bits) => makeMask(bits, 6))

function makeMask(bits: number, family: 4 | 6): IpAddress {
  const words = Array.from({ length: family === 4 ? 1 : 4 }, (_, index) => {
    const left = Math.min(Math.max(bits - index * 32, 0), 32)
    return left === 0 ? 0 : (0xffff_ffff << (32 - left)) >>> 0
  })
  return { family, words }
}

/** The number of leading ones of a mask; undefined where ones follow a zero. */
export function prefixLength(mask: IpAddress): number | undefined {
  const bits = mask.words.reduce((sum, word) => sum + Math.clz32(~word), 0)
  const { words } = prefixMask(bits, mask.family)
  return words.every((word, index) => word === mask.words[index]) ? bits : undefined
}

/** True where `address` and `network` agree in every bit of `mask`; families never mix. */
export function isInNetwork(address: IpAddress, network: IpAddress, mask: IpAddress): boolean {
  if (address.family !== network.family) {
    return false
  }
  for (let at = 0; at < address.words.length; at++) {
    if ((((address.words[at] ?? 0) ^ (network.words[at] ?? 0)) & (mask.words[at] ?? 0)) !== 0) {
      return false
    }
  }
  return true
}

/** The address in the form of `inet_ntop()`. */
export function formatIpAddress({ family, words }: IpAddress): string {
  if (family === 4) {
    return dotted(words[0] ?? 0)
  }
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff])
  const { start, length } = longestZeroRun(groups)
  // An IPv4 address in the last 32 bits is written as one.
  if (start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff))) {
    return `::${length === 6 ? '' : 'ffff:'}${dotted(words[3] ?? 0)}`
  }
  const hex = groups.map((group) => group.toString(16))
  if (length < 2) {
    return hex.join(':')
  }
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}

function dotted(word: number): string {
  return [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff].join('.')
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let start = 0
  groups.forEach((group, index) => {
    if (group !== 0) {
      start = index + 1
    } else if (index + 1 - start > best.length) {
      best = { start, length: index + 1 - start }
    }
  })
  return best
}
