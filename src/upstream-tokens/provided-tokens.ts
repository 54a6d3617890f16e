/**
 * Tokens of the proxy's own, from a source.
 *
 * @module
 */
import { type ByteString, toUtf8 } from '../byte-string.ts'
import { TokenProvider } from '../client/token/provider.ts'
import type { ClientLog, TokenSource } from '../client/token/provider-options.ts'
import { hiddenCredential } from '../upstream/credential.ts'
import type { TokenLease, TokenLeaseNeed, UpstreamTokens } from './upstream-tokens.ts'

/** Roles beyond these are kept only while somebody logs in as them. */
const MAX_ROLES = 1000

interface RoleTokens {
  readonly provider: TokenProvider
  logins: number
}

/**
 * One provider for each role around one source: a provider makes one call at a time, and a role must not wait
 * for another. Tokens are kept as a provider keeps them; one that the server refuses is replaced once.
 */
export class ProvidedTokens implements UpstreamTokens {
  readonly usesClientToken = false
  readonly #source: TokenSource
  readonly #log: ClientLog
  readonly #maxRoles: number
  /** The one that was used last is the last. */
  readonly #roles = new Map<ByteString, RoleTokens>()

  constructor(source: TokenSource, log: ClientLog, maxRoles: number = MAX_ROLES) {
    this.#source = source
    this.#log = log
    this.#maxRoles = maxRoles
  }

  /** How many roles have a provider now. */
  get size(): number {
    return this.#roles.size
  }

  lease({ role }: TokenLeaseNeed): TokenLease {
    const tokens = this.#roles.get(role) ?? {
      provider: new TokenProvider(this.#source, { log: this.#log }),
      logins: 0,
    }
    this.#roles.delete(role)
    this.#roles.set(role, tokens)
    tokens.logins += 1
    let wasKept = false
    let ended = false
    return {
      bearer: hiddenCredential({
        bearerToken: async ({ signal }) => {
          const given = await tokens.provider.get({ username: toUtf8(role), signal })
          wasKept = given.fromCache
          return given.credential.accessToken
        },
        refused: (token) => {
          tokens.provider.invalidate(token)
          return wasKept
        },
      }),
      end: async () => {
        if (!ended) {
          ended = true
          tokens.logins -= 1
          await this.#forgetOldest()
        }
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#roles.values()]
    this.#roles.clear()
    await Promise.all(all.map(({ provider }) => provider[Symbol.asyncDispose]()))
  }

  async #forgetOldest(): Promise<void> {
    for (const [role, { provider, logins }] of this.#roles) {
      if (this.#roles.size <= this.#maxRoles) {
        return
      }
      if (logins === 0) {
        this.#roles.delete(role)
        await provider[Symbol.asyncDispose]()
      }
    }
  }
}
