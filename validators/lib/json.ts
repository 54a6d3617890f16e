/**
 * JSON from strangers: bounded, without duplicate members, and read through own properties only.
 *
 * `JSON.parse` alone decides what is JSON. What it forgives (a member given twice, the last one wins)
 * is found by counting the members in the text and in the tree.
 *
 * @module
 */
import { isUtf8 } from 'node:buffer'
import { ErrorWithoutStack, withoutStacks } from './errors-without-stack.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject
export interface JsonObject {
  readonly [name: string]: JsonValue
}

export interface JsonLimits {
  readonly depth: number
  /** Members of all objects together. */
  readonly members: number
  /** Items of any one array. */
  readonly items: number
  /** UTF-16 units of any one string or name. */
  readonly string: number
}

/** What is wrong with a text: not the JSON that was asked for, or too much of it. */
export class JsonError extends ErrorWithoutStack {
  override readonly name = 'JsonError'
  readonly kind: 'malformed' | 'limit_exceeded'

  constructor(kind: 'malformed' | 'limit_exceeded', message: string) {
    super(message)
    this.kind = kind
  }
}

/**
 * Parses bytes that must be one JSON object in UTF-8, without a byte order mark, without a duplicate
 * member at any depth and within the limits.
 *
 * @throws {JsonError} whose message never quotes the input
 */
export function parseJsonObject(bytes: Buffer, limits: JsonLimits): JsonObject {
  if (!mayBeJsonObject(bytes)) {
    throw new JsonError('malformed', 'not a JSON object in UTF-8')
  }
  const value = parseBounded(bytes, limits)
  if (!isJsonObject(value)) {
    throw new JsonError('malformed', 'not a JSON object')
  }
  return value
}

/** The same for bytes that must be one JSON array. */
export function parseJsonArray(bytes: Buffer, limits: JsonLimits): readonly JsonValue[] {
  if (!beginsWith(bytes, 0x5b)) {
    throw new JsonError('malformed', 'not a JSON array in UTF-8')
  }
  const value = parseBounded(bytes, limits)
  if (!Array.isArray(value)) {
    throw new JsonError('malformed', 'not a JSON array')
  }
  return value as readonly JsonValue[]
}

/** True for `{…}`; false for arrays and null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A member that the object has itself: `constructor` and `__proto__` are names like any other. */
export function member(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** False for noise, for other encodings and for a byte order mark: UTF-8 that begins with a brace. */
export function mayBeJsonObject(bytes: Buffer): boolean {
  return beginsWith(bytes, 0x7b)
}

function beginsWith(bytes: Buffer, first: number): boolean {
  let at = 0
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) {
    at += 1
  }
  return bytes[at] === first && isUtf8(bytes)
}

function parseBounded(bytes: Buffer, limits: JsonLimits): JsonValue {
  const text = bytes.toString('utf8')
  const members = countMembers(text, limits)
  const value = parse(text)
  const seen = { members: 0 }
  measure(value, limits, seen)
  if (seen.members !== members) {
    throw new JsonError('malformed', 'a member appears twice')
  }
  return value
}

function parse(text: string): JsonValue {
  try {
    return withoutStacks(() => JSON.parse(text) as JsonValue)
  } catch {
    // JSON.parse quotes the input in its message.
    throw new JsonError('malformed', 'not JSON')
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a

/** Counts the colons outside strings, and refuses nesting before anything recursive sees it. */
function countMembers(text: string, limits: JsonLimits): number {
  let members = 0
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i)
    if (inString) {
      if (unit === BACKSLASH) {
        i += 1
      } else if (unit === QUOTE) {
        inString = false
      }
    } else if (unit === QUOTE) {
      inString = true
    } else if (unit === COLON) {
      members += 1
    } else if (unit === 0x7b || unit === 0x5b) {
      depth += 1
      if (depth > limits.depth) {
        throw new JsonError('limit_exceeded', 'nested too deeply')
      }
    } else if (unit === 0x7d || unit === 0x5d) {
      depth -= 1
    }
  }
  if (members > limits.members) {
    throw new JsonError('limit_exceeded', 'too many members')
  }
  return members
}

// With the u flag a surrogate that is half of a pair is no surrogate.
const LONE_SURROGATE = /\p{Surrogate}/u

function measure(value: JsonValue, limits: JsonLimits, seen: { members: number }): void {
  if (typeof value === 'string') {
    checkString(value, limits)
  } else if (Array.isArray(value)) {
    if (value.length > limits.items) {
      throw new JsonError('limit_exceeded', 'too many items in an array')
    }
    for (const item of value) {
      measure(item, limits, seen)
    }
  } else if (isJsonObject(value)) {
    for (const name of Object.keys(value)) {
      seen.members += 1
      checkString(name, limits)
      if (LONE_SURROGATE.test(name)) {
        throw new JsonError('malformed', 'a name is not Unicode text')
      }
      measure(value[name] ?? null, limits, seen)
    }
  }
}

function checkString(text: string, limits: JsonLimits): void {
  if (text.length > limits.string) {
    throw new JsonError('limit_exceeded', 'a string is too long')
  }
}
