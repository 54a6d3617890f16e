/**
 * Many rules, prepared so that a match costs microseconds instead of milliseconds: before anybody has
 * proved who they are, a linear scan of 100,000 rules would block everybody.
 *
 * The linear scan of `match-hba-line.ts` stays the reference.
 *
 * @module
 */
import type { RoleMemberships } from '../auth-file/role-memberships.ts'
import { type FindHbaLineOptions, findAmong, type FoundHbaLine } from './find-hba-line.ts'
import type { HbaConnection, HbaLine } from './hba-line.ts'
import { firstMismatch, type HbaQuery, hbaQuery } from './match-hba-line.ts'
import { RuleIndex } from './rule-index.ts'

/** From so many rules on they are indexed; below, a scan is in the noise of a login. */
export const COMPILE_THRESHOLD = 256

/** Rules, ready to be asked. */
export interface CompiledHbaLines {
  /** The rules as loaded, in order. */
  readonly lines: readonly HbaLine[]
  /** As `matchHbaLine(lines, …)`. */
  match(connection: HbaConnection, memberships?: RoleMemberships): HbaLine | undefined
  /** As `findHbaLine(lines, …)`. */
  find(connection: HbaConnection, options?: FindHbaLineOptions): Promise<FoundHbaLine>
}

/**
 * Prepares rules. Those with expressions, memberships, host names, `sameuser`, `samehost`, `samenet`
 * or a mask with holes are still scanned, as far as the first indexed rule that matches.
 *
 * @param threshold - default {@link COMPILE_THRESHOLD}.
 * @example
 * ```ts
 * const rules = compileHbaLines(loadHbaFile('pg_hba.conf', context).lines)
 * const { line } = await rules.find(connection, { signal })
 * ```
 */
export function compileHbaLines(
  lines: readonly HbaLine[],
  threshold: number = COMPILE_THRESHOLD,
): CompiledHbaLines {
  const index = new RuleIndex(lines)
  const scanned: number[] = []
  const indexed = lines.length >= threshold
  lines.forEach((line, at) => {
    if (!indexed || !index.add(line, at)) {
      scanned.push(at)
    }
  })
  index.finish()
  const candidates = (query: HbaQuery): Iterable<HbaLine> =>
    inOrder(lines, scanned, index.lookup(query))
  return {
    lines,
    match(connection, memberships) {
      const query = hbaQuery(connection, memberships)
      for (const line of candidates(query)) {
        if (firstMismatch(line, query) === undefined) {
          return line
        }
      }
      return undefined
    },
    find: (connection, options) => findAmong(candidates, connection, options),
  }
}

/** What has to be scanned before the first indexed rule that matches, and that rule. */
function* inOrder(
  lines: readonly HbaLine[],
  scanned: readonly number[],
  first: number,
): Generator<HbaLine> {
  for (const at of scanned) {
    if (at > first) {
      break
    }
    const line = lines[at]
    if (line !== undefined) {
      yield line
    }
  }
  const found = lines[first]
  if (found !== undefined) {
    yield found
  }
}
