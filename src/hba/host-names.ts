/**
 * The client's host name, looked up at most once per connection and confirmed forward
 * (`hba.c: check_hostname()`).
 *
 * @module
 */
import { lookup, lookupService } from 'node:dns/promises'
import type { ByteString } from '../byte-string.ts'
import { type IpAddress, parseIpAddress } from './ip-address.ts'

/** Where names come from; the default asks the system, as PostgreSQL does. */
export interface HostNameResolver {
  /** The host name of an address; rejects where it has none (`getnameinfo` with NI_NAMEREQD). */
  reverse(address: string, signal: AbortSignal | undefined): Promise<string>
  /** All addresses of a host name (`getaddrinfo`). */
  forward(name: string, signal: AbortSignal | undefined): Promise<readonly string[]>
}

/** Asks `getnameinfo()` and `getaddrinfo()` of the system, so `/etc/hosts` counts as well. */
export const systemResolver: HostNameResolver = {
  async reverse(address, signal) {
    const { hostname } = await abandonable(lookupService(address, 0), signal)
    return hostname
  },
  async forward(name, signal) {
    const found = await abandonable(lookup(name, { all: true }), signal)
    return found.map(({ address }) => address)
  },
}

// The system's resolver cannot be interrupted; whoever waits for it can stop waiting.
function abandonable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return work
  }
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason as Error)
    }
    if (signal.aborted) {
      work.catch(() => {})
      abort()
      return
    }
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort)
    })
  })
}

type State =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'no_name'; readonly reason: string }
  | { readonly kind: 'named' | 'confirmed' | 'denied'; readonly name: string }
  | { readonly kind: 'no_address'; readonly name: string; readonly reason: string }

/** The host name of one client. */
export class ClientHostName {
  readonly #address: string
  readonly #resolver: HostNameResolver
  readonly #signal: AbortSignal | undefined
  #state: State = { kind: 'unknown' }

  constructor(address: string, resolver: HostNameResolver, signal: AbortSignal | undefined) {
    this.#address = address
    this.#resolver = resolver
    this.#signal = signal
  }

  /** True where the client's name fits `pattern` and leads back to the client's address. */
  async matches(pattern: ByteString): Promise<boolean> {
    if (this.#state.kind === 'unknown') {
      this.#state = await this.#lookUpName()
    }
    const state = this.#state
    if (!('name' in state) || state.kind === 'no_address') {
      return false
    }
    if (state.kind === 'denied' || !isHostNameMatch(pattern, state.name)) {
      return false
    }
    if (state.kind === 'named') {
      this.#state = await this.#confirm(state.name)
    }
    return this.#state.kind === 'confirmed'
  }

  /** The DETAIL of "no pg_hba.conf entry" in the log; undefined where no rule asked for a name. */
  get detail(): string | undefined {
    const state = this.#state
    switch (state.kind) {
      case 'unknown':
        return undefined
      case 'no_name':
        return `Could not resolve client IP address to a host name: ${state.reason}.`
      case 'no_address':
        return `Could not translate client host name "${state.name}" to IP address: ${state.reason}.`
      case 'named':
        return `Client IP address resolved to "${state.name}", forward lookup not checked.`
      case 'confirmed':
        return `Client IP address resolved to "${state.name}", forward lookup matches.`
      case 'denied':
        return `Client IP address resolved to "${state.name}", forward lookup does not match.`
    }
  }

  async #lookUpName(): Promise<State> {
    try {
      const name = await this.#resolver.reverse(this.#address, this.#signal)
      return { kind: 'named', name }
    } catch (error) {
      this.#signal?.throwIfAborted()
      return { kind: 'no_name', reason: resolverText(error) }
    }
  }

  async #confirm(name: string): Promise<State> {
    try {
      const addresses = await this.#resolver.forward(name, this.#signal)
      const client = parseIpAddress(this.#address)
      const found = addresses.some((address) => isSame(parseIpAddress(address), client))
      return { kind: found ? 'confirmed' : 'denied', name }
    } catch (error) {
      this.#signal?.throwIfAborted()
      return { kind: 'no_address', name, reason: resolverText(error) }
    }
  }
}

function isSame(a: IpAddress | undefined, b: IpAddress | undefined): boolean {
  return (
    a !== undefined &&
    a.family === b?.family &&
    a.words.every((word, index) => word === b.words[index])
  )
}

/** `.suffix` fits every name that ends with it, anything else only itself; ASCII case is ignored. */
export function isHostNameMatch(pattern: string, name: string): boolean {
  const wanted = asciiLower(pattern)
  const actual = asciiLower(name)
  return wanted.startsWith('.') ? actual.endsWith(wanted) : actual === wanted
}

function asciiLower(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

// The texts of glibc's gai_strerror().
const RESOLVER_TEXTS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_NONAME: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
  EAI_FAIL: 'Non-recoverable failure in name resolution',
  EAI_NODATA: 'No address associated with hostname',
  EAI_MEMORY: 'Memory allocation failure',
}

function resolverText(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return RESOLVER_TEXTS[code] ?? (code || 'unknown error')
}
