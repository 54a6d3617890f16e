/**
 * Which addresses we may talk to. The check is made on the address that is connected to, at that
 * moment, so a name that changes its mind between check and connect (DNS rebinding) gains nothing.
 *
 * @module
 */
import { type LookupAddress, lookup as dnsLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

/**
 * `public`: addresses of the open internet only. `private`: also RFC 1918, unique local and
 * carrier-grade NAT addresses. `any`: everything, also this machine.
 */
export type Egress = 'public' | 'private' | 'any'

/** The addresses of this machine, by name or number, that `dangerously_allow_http` is limited to. */
export function isLoopbackHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  return host === 'localhost' || (isIP(host) !== 0 && contains(LOOPBACK, host))
}

export function isAllowedAddress(address: string, egress: Egress): boolean {
  if (egress === 'any') {
    return isIP(address) !== 0
  }
  if (isIP(address) === 0 || contains(FORBIDDEN, address)) {
    return false
  }
  if (contains(PRIVATE, address)) {
    return egress === 'private'
  }
  // Of IPv6 only what IANA has given out as global unicast; everything else is somebody's tunnel.
  return isIP(address) === 4 || contains(MAPPED, address) || contains(GLOBAL_UNICAST, address)
}

/**
 * A `lookup` for `net.connect` that yields addresses only if all of them are allowed.
 *
 * @param loopbackOnly - for plain http, which never leaves this machine
 * @param resolve - default: the system's resolver
 */
export function guardedLookup(
  egress: Egress,
  loopbackOnly = false,
  resolve: typeof dnsLookup = dnsLookup,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, [])
        return
      }
      const refused = addresses.find(
        ({ address }) =>
          !isAllowedAddress(address, egress) || (loopbackOnly && !contains(LOOPBACK, address)),
      )
      const first = addresses[0]
      if (refused !== undefined || first === undefined) {
        callback(new EgressError(hostname, egress), [])
      } else if (options.all === true) {
        callback(null, addresses satisfies LookupAddress[])
      } else {
        callback(null, first.address, first.family)
      }
    })
  }
}

/** A host has an address that the settings do not let us talk to. */
export class EgressError extends Error {
  override readonly name = 'EgressError'

  constructor(hostname: string, egress: Egress) {
    super(`an address of "${hostname}" is not allowed by http.egress = "${egress}"`)
  }
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

function blockList(subnets: string): BlockList {
  const list = new BlockList()
  for (const subnet of subnets.trim().split(/\s+/)) {
    const [network = '', prefix = ''] = subnet.split('/')
    list.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

const LOOPBACK = blockList('127.0.0.0/8 ::1/128')
const PRIVATE = blockList('10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7')
const MAPPED = blockList('::ffff:0:0/96')
const GLOBAL_UNICAST = blockList('2000::/3')

// IANA special-purpose registries, without the private ranges above; fd00:ec2::254 is a cloud's
// metadata service inside a private range.
const FORBIDDEN = blockList(`
  0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15
  198.51.100.0/24 203.0.113.0/24 224.0.0.0/3 ::/128 ::1/128 64:ff9b::/96 64:ff9b:1::/48 100::/64
  fe80::/10 ff00::/8 2001::/23 2001:db8::/32 2002::/16 3fff::/20 fd00:ec2::254/128
`)
