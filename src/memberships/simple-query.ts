/**
 * One query in the simple protocol and its rows, on a connection that does nothing else.
 *
 * @module
 */
import type { Buffer } from 'node:buffer'
import { type ByteString, fromBytes } from '../byte-string.ts'
import { parseErrorFields } from '../protocol/error-response.ts'
import { cString, encodeMessage } from '../protocol/message.ts'
import type { UpstreamConnection } from '../upstream/connect-upstream.ts'
import { catalogError } from './catalog-error.ts'

/** A column in text format, as it came; undefined is NULL. */
export type Row = readonly (ByteString | undefined)[]

/** libpq's MAX_ERRLEN; a row of names is far shorter. */
const MAX_MESSAGE_LENGTH = 30_000

/** The answer as a whole: a million rows of two names. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

type QueryConnection = Pick<UpstreamConnection, 'socket' | 'source'>

/**
 * Asks, and hands out rows as they come, up to the end of the answer.
 *
 * @throws UpstreamError where the server refuses, closes or breaks the protocol.
 */
export async function* simpleQuery(
  { socket, source }: QueryConnection,
  sql: string,
): AsyncGenerator<Row, void, undefined> {
  socket.write(encodeMessage('Q', cString(sql)))
  let total = 0
  for (;;) {
    const { type, body } = await readMessage(source)
    total += body.length
    if (total > MAX_ANSWER_BYTES) {
      throw catalogError('protocol_violation', 'the answer is too long')
    }
    switch (type) {
      case 'D':
        yield dataRow(body)
        break
      case 'E':
        throw refused(body)
      case 'Z':
        return
      // RowDescription, CommandComplete, NoticeResponse, ParameterStatus, NotificationResponse.
      case 'T':
      case 'C':
      case 'N':
      case 'S':
      case 'A':
        break
      default:
        throw catalogError('protocol_violation', 'received an unexpected message')
    }
  }
}

async function readMessage(
  source: QueryConnection['source'],
): Promise<{ readonly type: string; readonly body: Buffer }> {
  const head = await source.readExactly(5)
  const length = head?.readUInt32BE(1) ?? 0
  if (head !== undefined && (length < 4 || length > MAX_MESSAGE_LENGTH)) {
    throw catalogError('protocol_violation', 'received a message of invalid length')
  }
  const body = head && (length === 4 ? head.subarray(5) : await source.readExactly(length - 4))
  if (head === undefined || body === undefined) {
    throw catalogError('closed', 'server closed the connection unexpectedly')
  }
  return { type: head.toString('latin1', 0, 1), body }
}

function refused(body: Buffer): Error {
  const fields = parseErrorFields(body)
  return catalogError('refused', `${fields.get('C') ?? ''}: ${fields.get('M') ?? ''}`)
}

/** DataRow: a count of columns, then for each its length (-1: NULL) and its bytes. */
function dataRow(body: Buffer): Row {
  const row: (ByteString | undefined)[] = []
  let at = 2
  const count = body.length < 2 ? -1 : body.readInt16BE(0)
  while (row.length < count && at + 4 <= body.length) {
    const length = body.readInt32BE(at)
    at += 4
    if (length < -1 || at + length > body.length) {
      break
    }
    row.push(length === -1 ? undefined : fromBytes(body.subarray(at, at + length)))
    at += Math.max(length, 0)
  }
  if (row.length !== count || at !== body.length) {
    throw catalogError('protocol_violation', 'received an invalid row')
  }
  return row
}
