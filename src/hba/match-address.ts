/**
 * The address field against a client's address (`hba.c: check_ip()`, `check_same_host_or_net()`).
 *
 * @module
 */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import type { HbaAddress } from './hba-line.ts'
import { type IpAddress, isInNetwork, parseIpAddress, prefixMask } from './ip-address.ts'

/** The addresses of this machine, read at most once per connection and only if a rule asks. */
export class OwnAddresses {
  #networks: readonly { readonly address: IpAddress; readonly mask: IpAddress }[] | undefined

  /** True where the client's address is one of this machine's. */
  hasHost(client: IpAddress): boolean {
    const full = prefixMask(128, client.family)
    return this.#list().some(({ address }) => isInNetwork(client, address, full))
  }

  /** True where the client is in a subnet that this machine is connected to. */
  hasNetwork(client: IpAddress): boolean {
    return this.#list().some(({ address, mask }) => isInNetwork(client, address, mask))
  }

  #list(): readonly { readonly address: IpAddress; readonly mask: IpAddress }[] {
    this.#networks ??= Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).flatMap(ownNetwork),
    )
    return this.#networks
  }
}

// run_ifaddr_callback(): an interface without a usable mask stands for its own address only.
function ownNetwork(info: NetworkInterfaceInfo): { address: IpAddress; mask: IpAddress }[] {
  const address = parseIpAddress(info.address)
  if (address === undefined) {
    return []
  }
  const mask = parseIpAddress(info.netmask)
  const usable = mask?.family === address.family && mask.words.some((word) => word !== 0)
  return [{ address, mask: usable ? mask : prefixMask(128, address.family) }]
}

/** True where a numeric rule or a keyword covers the client; host names are decided elsewhere. */
export function matchAddress(
  address: Exclude<HbaAddress, { kind: 'hostname' }>,
  client: IpAddress | undefined,
  own: OwnAddresses,
): boolean {
  switch (address.kind) {
    case 'all':
      return true
    case 'network':
      return client !== undefined && isInNetwork(client, address.address, address.mask)
    case 'samehost':
      return client !== undefined && own.hasHost(client)
    case 'samenet':
      return client !== undefined && own.hasNetwork(client)
  }
}
