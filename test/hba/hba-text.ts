/** Rules from text, without a file. */
import { scanToken } from '../../src/auth-file/tokenize-line.ts'
import type { AuthFile, AuthRecord } from '../../src/auth-file/read-auth-file.ts'
import type { AuthToken } from '../../src/auth-file/auth-token.ts'
import type { ByteString } from '../../src/byte-string.ts'
import type { HbaLine, HbaLoadContext } from '../../src/hba/hba-line.ts'
import { type HbaFile, parseHbaRecords } from '../../src/hba/load-hba-file.ts'

const CONTEXT: HbaLoadContext = { oauthValidatorLibraries: ['jwt'], ssl: true }

/** What the rules say, errors included; one record a line. */
export function parseHba(text: string, context: HbaLoadContext = CONTEXT): HbaFile {
  return parseHbaRecords('pg_hba.conf', records(text), context)
}

/** The rules. @throws where one is wrong. */
export function hbaLines(text: string, context: HbaLoadContext = CONTEXT): readonly HbaLine[] {
  const { lines, errors } = parseHba(text, context)
  if (errors[0] !== undefined) {
    throw errors[0]
  }
  return lines
}

/** Records of a text without includes. */
export function records(text: string): AuthFile {
  const found = text.split('\n').map((raw, at): AuthRecord => {
    return { file: 'pg_hba.conf', line: at + 1, raw: raw as ByteString, fields: fieldsOf(raw) }
  })
  return { records: found.filter(({ fields }) => fields.length > 0), errors: [], files: [] }
}

function fieldsOf(line: string): AuthToken[][] {
  const fields: AuthToken[][] = []
  let goesOn = false
  for (let at = 0; at < line.length; ) {
    const scanned = scanToken(line as ByteString, at)
    if (scanned === undefined) {
      break
    }
    if (goesOn) {
      fields.at(-1)?.push(scanned.token)
    } else {
      fields.push([scanned.token])
    }
    goesOn = scanned.comma
    at = scanned.next
  }
  return fields
}
