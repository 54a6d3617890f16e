/**
 * What two answers or two logs say, without what is known and meant to differ (docs/reference/differences.md).
 */
import type { LogEntry } from './real-server.ts'

/** PostgreSQL 18 logs these apart; 19 and we log them as the first line of the refusal's detail. */
const REASON_OF_ITS_OWN =
  /^(provided user name|no match in usermap|regular expression|certificate validation|certificate authentication failed for user .*: )/
const REFUSAL = /^(OAuth bearer|certificate) authentication failed for user ".*"$/s

/** Our words for what PostgreSQL 18 has none for. */
const OURS_ALONE: ReadonlySet<string> = new Set([
  'validate returned false',
  'the server behind refused the login',
])

/** The facts of a log, in no order: whoever leaves is refused before or after it is noticed. */
export function gistOfLog(entries: readonly LogEntry[]): readonly string[] {
  const facts: string[] = []
  const reasons = new Set<string>()
  const said = new Set<string>()
  for (const { level, sqlState, message, detail } of entries.map(withoutPlaces)) {
    const lines = (detail ?? '').split('\n').filter((line) => line !== '' && !OURS_ALONE.has(line))
    const matched = lines.filter((line) => line.startsWith('Connection matched'))
    const others = lines.filter((line) => !line.startsWith('Connection matched'))
    if (REASON_OF_ITS_OWN.test(message)) {
      reasons.add(message)
    } else if (REFUSAL.test(message)) {
      for (const line of others.filter((one) => !said.has(one))) {
        reasons.add(line)
      }
      // A discovery request is a failed login in the log of 18, and nothing in ours and that of 19.
      if (level === 'fatal' && reasons.size + said.size > 0) {
        facts.push(`fatal ${sqlState} ${message} ${matched.join()}`)
      }
    } else if (message === 'internal error in OAuth validator module') {
      said.add(message)
      facts.push(`${level} ${message}`)
    } else {
      if (sqlState === '08P01') {
        said.add(message)
        others.forEach((line) => said.add(line))
      }
      facts.push(`${level} ${sqlState} ${message} ${others.join('\n')}`)
    }
  }
  return [...facts, ...[...reasons].map((reason) => `refused because ${reason}`)].sort()
}

function withoutPlaces({ message, detail, ...entry }: LogEntry): LogEntry {
  const plain = (text: string): string =>
    text.replace(/port=\d+/, 'port=…').replace(/[^ ("]*pg_hba\.conf(?=[:"])/g, 'pg_hba.conf')
  return {
    ...entry,
    message: plain(message),
    ...(detail === undefined ? {} : { detail: plain(detail) }),
  }
}

/** Names that are not UTF-8 go to the client as they are there, and as `\xNN` here. */
export function gistOfAnswer(lines: readonly string[]): readonly string[] {
  return lines.map((line) =>
    line.startsWith('E ')
      ? line.replace(
          /[\u0080-\u00ff]/g,
          (byte) => `\\\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
        )
      : line,
  )
}
