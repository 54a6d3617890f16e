/**
 * Physical lines joined by backslashes (`hba.c: tokenize_auth_file()`, `pg_get_line_append()`).
 *
 * Joining comes before everything else, so it also works inside quotes and comments.
 *
 * @module
 */
import type { ByteString } from '../byte-string.ts'

/** A line as rules see it. */
export interface LogicalLine {
  /** Number of the first physical line, from 1, as PostgreSQL counts. */
  readonly number: number
  readonly text: ByteString
  /** What to tell the operator where PostgreSQL's reading depends on the size of its buffers. */
  readonly unreadable?: string
}

/**
 * Splits a file into logical lines.
 *
 * A zero byte hides the rest of its line and the newline, so the next line is joined to it, and
 * PostgreSQL does not count that next line.
 */
export function* logicalLines(content: ByteString): Generator<LogicalLine> {
  const reader = new LineReader(content)
  let number = 1
  while (!reader.atEnd) {
    const { text, continuations, unreadable } = reader.logicalLine()
    yield { number, text, ...(unreadable === undefined ? {} : { unreadable }) }
    number += continuations + 1
  }
}

// fgets() reads in pieces of what is left of a buffer of at least 1024 bytes; below this length a
// zero byte hides exactly the rest of its line.
const MAX_LINE_WITH_ZERO_BYTE = 512

class LineReader {
  readonly #content: string
  #at = 0

  constructor(content: string) {
    this.#content = content
  }

  get atEnd(): boolean {
    return this.#at >= this.#content.length
  }

  logicalLine(): { text: ByteString; continuations: number; unreadable: string | undefined } {
    const line = new TailedText()
    let continuations = 0
    // A second continuation needs a character after the first: `\\` before two newlines is one.
    let joinedAt = 0
    let unreadable: string | undefined
    while (!this.atEnd) {
      unreadable = this.#appendPhysicalLine(line) ?? unreadable
      line.stripLineEnd()
      if (line.length <= joinedAt || !line.endsWithBackslash()) {
        break
      }
      line.dropLast()
      joinedAt = line.length
      continuations++
    }
    return { text: line.toString() as ByteString, continuations, unreadable }
  }

  #appendPhysicalLine(line: TailedText): string | undefined {
    let unreadable: string | undefined
    while (!this.atEnd) {
      const newline = this.#content.indexOf('\n', this.#at)
      const end = newline === -1 ? this.#content.length : newline + 1
      const piece = this.#content.slice(this.#at, end)
      this.#at = end
      const zero = piece.indexOf('\0')
      if (zero === -1) {
        line.append(piece)
        return unreadable
      }
      if (line.length + piece.length > MAX_LINE_WITH_ZERO_BYTE) {
        unreadable = 'zero byte in a long line'
      }
      line.append(piece.slice(0, zero))
    }
    return unreadable
  }
}

/** Text that grows at its end and is trimmed there, in linear time over all operations. */
class TailedText {
  readonly #parts: string[] = []
  length = 0

  append(part: string): void {
    if (part !== '') {
      this.#parts.push(part)
      this.length += part.length
    }
  }

  stripLineEnd(): void {
    for (;;) {
      const last = this.#parts.pop()
      if (last === undefined) {
        return
      }
      let end = last.length
      while (end > 0 && (last[end - 1] === '\n' || last[end - 1] === '\r')) {
        end--
      }
      this.length -= last.length
      this.append(last.slice(0, end))
      if (end > 0) {
        return
      }
    }
  }

  endsWithBackslash(): boolean {
    return this.#parts.at(-1)?.endsWith('\\') ?? false
  }

  dropLast(): void {
    const last = this.#parts.pop() ?? ''
    this.length -= last.length
    this.append(last.slice(0, -1))
  }

  toString(): string {
    return this.#parts.join('')
  }
}
