/**
 * A server that lets everybody in and answers every query with one row, as a process of its own: for
 * what a real PostgreSQL is too heavy for, such as thousands of sessions. A query `bulk N` is answered
 * with N rows of 1 KB.
 *
 *     node dist/bench/lib/fake-postgres.js PORT
 */
import { Buffer } from 'node:buffer'
import { randomInt } from 'node:crypto'
import net from 'node:net'
import { int32, MessageSplitter, message } from './messages.ts'

const ready = message('Z', Buffer.from('I'))
const parameters = [
  ['server_version', '18.0'],
  ['server_encoding', 'UTF8'],
  ['client_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'Etc/UTC'],
  ['integer_datetimes', 'on'],
  ['standard_conforming_strings', 'on'],
  ['is_superuser', 'off'],
  ['session_authorization', 'bench'],
]
const greeting = Buffer.concat([
  message('R', int32(0)),
  ...parameters.map(([name, value]) => message('S', Buffer.from(`${name}\0${value}\0`))),
])

function rowOf(text: string): Buffer {
  return message('D', Buffer.concat([Buffer.from([0, 1]), int32(text.length), Buffer.from(text)]))
}

const answer = Buffer.concat([rowOf('42'), message('C', Buffer.from('SELECT 1\0')), ready])
const bulkRow = rowOf('x'.repeat(1000))

function reply(sql: string): Buffer {
  const rows = /^bulk (\d+)/.exec(sql)?.[1]
  return rows === undefined
    ? answer
    : Buffer.concat([...Array.from({ length: Number(rows) }, () => bulkRow), answer])
}

function serve(socket: net.Socket): void {
  socket.on('error', () => {})
  socket.once('data', () => {
    const key = Buffer.concat([int32(randomInt(2 ** 31)), int32(randomInt(2 ** 31))])
    socket.write(Buffer.concat([greeting, message('K', key), ready]))
    const splitter = new MessageSplitter()
    socket.on('data', (chunk: Buffer) => {
      for (const { type, body } of splitter.push(chunk)) {
        if (type === 'X') {
          socket.end()
        } else if (type === 'Q') {
          socket.write(reply(body.toString('latin1', 0, body.length - 1)))
        }
      }
    })
  })
}

net.createServer({ noDelay: true }, serve).listen({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  backlog: 511,
})
