/** A lot of bytes to the client, every one of them checked. @module */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import type net from 'node:net'
import { query } from './messages.ts'

/** What one stream has to be, byte by byte, as PostgreSQL sends it when it is reached directly. */
export interface Stream {
  readonly request: Buffer
  readonly length: number
  readonly digest: string
}

const ROWS = 16_384
/** Of one copy of the table, about. */
export const TABLE_BYTES: number = ROWS * 2000

/** Makes the table: 32 MB in rows of 2 KB, no two alike. */
export const CREATE_TABLE = `
  create unlogged table bulk (payload text storage plain);
  insert into bulk
    select (select string_agg(md5((row * 64 + part)::text), '') from generate_series(1, 62) part)
    from generate_series(1, ${ROWS}) row;
  vacuum analyze bulk;
  grant select on bulk to public`

/** Sends the table so many times over. */
export function bulkQuery(times: number): Buffer {
  return query(
    `copy (select payload from generate_series(1, ${times}) time, bulk) to stdout (format binary)`,
  )
}

/** Reads a stream directly from PostgreSQL, to compare others with. */
export async function recordStream(socket: net.Socket, request: Buffer): Promise<Stream> {
  return { request, ...(await receive(socket, request, undefined)) }
}

/** @throws {Error} where the stream is not the one that was recorded. */
export async function checkStream(socket: net.Socket, expected: Stream): Promise<void> {
  const { length, digest } = await receive(socket, expected.request, expected.length)
  if (length !== expected.length || digest !== expected.digest) {
    throw new Error(`the stream is corrupt: ${length} bytes instead of ${expected.length}`)
  }
}

async function receive(
  socket: net.Socket,
  request: Buffer,
  expectedLength: number | undefined,
): Promise<{ length: number; digest: string }> {
  const hash = createHash('sha1')
  let length = 0
  let tail: Buffer = Buffer.alloc(0)
  await new Promise<void>((resolve, reject) => {
    const onClose = (): void => reject(new Error('the server closed the stream'))
    const onData = (chunk: Buffer): void => {
      hash.update(chunk)
      length += chunk.length
      tail = chunk.length < TAIL ? Buffer.concat([tail, chunk]).subarray(-TAIL) : chunk
      const over = expectedLength === undefined ? endsStream(tail) : length >= expectedLength
      if (over) {
        socket.off('data', onData)
        socket.off('close', onClose)
        resolve()
      }
    }
    socket.on('data', onData)
    socket.once('close', onClose)
    socket.write(request)
  })
  return { length, digest: hash.digest('hex') }
}

/** ReadyForQuery, idle; no row has a NUL in its text. */
const END = 'Z\0\0\0\u0005I'
const TAIL = END.length

function endsStream(tail: Buffer): boolean {
  return tail.subarray(-TAIL).toString('latin1') === END
}
