/**
 * Where a claim is: a JSON Pointer (RFC 6901) or a list of names. Names of claims contain dots and
 * slashes (`https://example.com/roles`), so nothing is ever split at a dot.
 *
 * @module
 */
import { isJsonObject, type JsonObject, type JsonValue, member } from '../json.ts'

export type ClaimPath = readonly string[]

/** The names in a JSON Pointer; undefined where it is none. */
export function parsePointer(pointer: string): ClaimPath | undefined {
  if (!/^(\/([^~]|~[01])*)+$/.test(pointer)) {
    return undefined
  }
  return pointer
    .slice(1)
    .split('/')
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The claim at a path; only members that an object has itself, never an item of an array. */
export function claimAt(claims: JsonObject, path: ClaimPath): JsonValue | undefined {
  let value: JsonValue | undefined = claims
  for (const name of path) {
    if (!isJsonObject(value)) {
      return undefined
    }
    value = member(value, name)
  }
  return value
}

/** For messages. */
export function showPath(path: ClaimPath): string {
  return path.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}
