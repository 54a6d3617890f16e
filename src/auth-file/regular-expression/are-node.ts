/**
 * A parsed Advanced Regular Expression of PostgreSQL.
 *
 * @module
 */
import type { ByteSet } from './byte-set.ts'

/** Places that have no length. */
export type AreAssertion =
  | 'line-start'
  | 'line-end'
  | 'text-start'
  | 'text-end'
  | 'word-start'
  | 'word-end'
  | 'word-boundary'
  | 'not-word-boundary'

export type AreNode =
  | { readonly type: 'set'; readonly set: ByteSet }
  | { readonly type: 'concat'; readonly items: readonly AreNode[] }
  | { readonly type: 'alternate'; readonly branches: readonly AreNode[] }
  | { readonly type: 'group'; readonly capture: number | undefined; readonly child: AreNode }
  | {
      readonly type: 'repeat'
      readonly child: AreNode
      readonly min: number
      readonly max: number
      /** `{m}` has no preference of its own. */
      readonly prefers: 'longest' | 'shortest' | undefined
    }
  | { readonly type: 'assertion'; readonly assertion: AreAssertion }
  | { readonly type: 'lookaround' | 'back-reference' }

/** An expression and what its options mean for how it is used. */
export interface Are {
  readonly root: AreNode
  /** Number of capturing groups. */
  readonly groups: number
}

/** PostgreSQL refuses the expression; `message` is the text of `regerrs.h`. */
export class AreSyntaxError extends Error {
  override readonly name = 'AreSyntaxError'
}

/** PostgreSQL would take the expression, but nothing here can run it. */
export class AreUnsupportedError extends Error {
  override readonly name = 'AreUnsupportedError'
}
