/**
 * Which hosts an interactive callback may be called for.
 *
 * @module
 */

/**
 * Whether a host is on the list: the same name or address, or below a `*.` entry (which does not match
 * the name itself). Case does not count in names; ports are no part of either.
 */
export function isAllowedHost(host: string, allowed: readonly string[]): boolean {
  const name = plain(host)
  return allowed.some((entry) => {
    const pattern = plain(entry)
    return pattern.startsWith('*.')
      ? name.endsWith(pattern.slice(1)) && name.length > pattern.length - 1
      : name === pattern
  })
}

// `[::1]` and `::1` are the same address; a name may end in the root's dot.
function plain(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}
