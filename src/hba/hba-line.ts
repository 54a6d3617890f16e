/**
 * A rule, as loaded (`HbaLine` in `hba.h`), and what it is matched against.
 *
 * @module
 */
import type { AuthToken } from '../auth-file/auth-token.ts'
import type { RegularExpression } from '../auth-file/regular-expression.ts'
import type { ByteString } from '../byte-string.ts'
import type { IpAddress } from './ip-address.ts'

/** First word of a rule. */
export type HbaConnectionType =
  | 'local'
  | 'host'
  | 'hostssl'
  | 'hostnossl'
  | 'hostgssenc'
  | 'hostnogssenc'

/** The methods that work here; every other method of PostgreSQL is a load error. */
export type HbaMethod = 'oauth' | 'reject' | 'trust' | 'cert' | 'upstream'

/** One alternative of the database field. */
export type DatabaseMatch =
  | { readonly kind: 'all' | 'sameuser' | 'samerole' | 'replication'; readonly token: AuthToken }
  | { readonly kind: 'regex'; readonly token: AuthToken; readonly regex: RegularExpression }
  | { readonly kind: 'name'; readonly token: AuthToken }

/** One alternative of the user field. */
export type UserMatch =
  | { readonly kind: 'all'; readonly token: AuthToken }
  | { readonly kind: 'member'; readonly token: AuthToken; readonly group: ByteString }
  | { readonly kind: 'regex'; readonly token: AuthToken; readonly regex: RegularExpression }
  | { readonly kind: 'name'; readonly token: AuthToken }

/** The address field; `local` rules have none. */
export type HbaAddress =
  | { readonly kind: 'all' | 'samehost' | 'samenet' }
  | { readonly kind: 'network'; readonly address: IpAddress; readonly mask: IpAddress }
  | { readonly kind: 'hostname'; readonly name: ByteString }

/** The options of an `oauth` rule. */
export interface HbaOAuthOptions {
  /** As written; PostgreSQL does not look at it, and neither do we. */
  readonly issuer: ByteString
  /** As written; may be empty. */
  readonly scope: ByteString
  /** A name of `oauth_validator_libraries`: the rule's, or the only one there is. */
  readonly validator: string
  /** True: the validator alone decides which role a token may be; no map is consulted. */
  readonly delegateIdentMapping: boolean
  /** Ours: ask for a cleartext password and take it as the token. */
  readonly tokenInPassword: boolean
  /** Names after `validator.` and their values; of a repeated name the last. */
  readonly validatorOptions: ReadonlyMap<string, string>
}

/** A rule. */
export interface HbaLine {
  /** Number among the valid rules, from 1 (`rule_number`); absent where a warning goes with it. */
  readonly ruleNumber: number | undefined
  readonly file: string
  /** First physical line, from 1. */
  readonly line: number
  /** The line after joining, comments included. */
  readonly raw: ByteString
  readonly connType: HbaConnectionType
  readonly databases: readonly DatabaseMatch[]
  readonly users: readonly UserMatch[]
  readonly address: HbaAddress | undefined
  readonly method: HbaMethod
  /** Name of the user map; empty as good as absent. */
  readonly map: ByteString | undefined
  /** Present where the method is `oauth`. */
  readonly oauth: HbaOAuthOptions | undefined
  /** What is asked of the client's certificate; `cert` rules ask for `verify-full`. */
  readonly clientCert: 'verify-ca' | 'verify-full' | undefined
  /** Which name of the certificate counts; `CN` unless the rule says otherwise. */
  readonly clientName: 'CN' | 'DN'
}

/** Who is at the door. */
export interface HbaConnection {
  /** A Unix socket. */
  readonly local: boolean
  /** Numeric, absent for Unix sockets; IPv4-mapped addresses are converted before they come here. */
  readonly address?: string | undefined
  readonly tls: boolean
  readonly user: ByteString
  readonly database: ByteString
  /** `replication` on, and no database: only the keyword `replication` matches. */
  readonly physicalReplication: boolean
}

/** What rules are checked against while they load. */
export interface HbaLoadContext {
  /** `oauth_validator_libraries`. */
  readonly oauthValidatorLibraries: readonly string[]
  /** `ssl`: without it `hostssl` rules load with a warning and never match. */
  readonly ssl: boolean
  /** Where there is `none`, a rule with `+role` or `samerole` is an error; default `available`. */
  readonly memberships?: 'available' | 'none'
}
