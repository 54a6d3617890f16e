/**
 * What a module threw, as one line. Anything can be thrown, also something whose properties throw.
 * The text may hold a token: scrub it before it goes anywhere.
 *
 * @module
 */

const MAX_CAUSES = 3
// The first frame that is not Node's own; before it, a syntax error has the file that was imported.
const PLACE = /^(file:.{1,300}:\d+)$|^\s+at ((?!.*node:).{1,300})$/m

/**
 * Name, message, the place it was thrown at and the causes.
 *
 * @example
 * ```ts
 * describeThrown(new TypeError('no sub')) // 'TypeError: no sub (at validate (file:///acme.js:7:9))'
 * ```
 */
export function describeThrown(thrown: unknown): string {
  const parts: string[] = []
  let current = thrown
  while (parts.length <= MAX_CAUSES) {
    parts.push(describeOne(current))
    const cause = read(current, 'cause')
    if (cause === undefined) {
      break
    }
    current = cause
  }
  return parts.join('; caused by ')
}

function describeOne(thrown: unknown): string {
  if (typeof thrown === 'string') {
    return thrown
  }
  if ((typeof thrown !== 'object' && typeof thrown !== 'function') || thrown === null) {
    return String(thrown)
  }
  const message = text(read(thrown, 'message'))
  if (message === undefined) {
    return 'something that is not an error'
  }
  const name = text(read(thrown, 'name')) ?? 'Error'
  const place = PLACE.exec(text(read(thrown, 'stack')) ?? '')
  const frame = place?.[1] ?? place?.[2]
  return `${name}: ${message}${frame === undefined ? '' : ` (at ${frame})`}`
}

function read(value: unknown, key: string): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) {
    return undefined
  }
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
