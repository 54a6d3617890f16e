/** Sessions beyond a handful leave nothing on stderr: Node warns of a signal with eleven listeners. */
import { expect, it, onTestFinished, vi } from 'vitest'
import { withPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { rawClient } from '../support/raw-client.ts'
import { startupMessage } from '../support/wire-bytes.ts'

const postgres = withPostgres({ hba: 'host all all 127.0.0.1/32 trust' })

it('serves 20 sessions at once without a warning of Node', async () => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => {
    warnings.push(warning)
  }
  process.on('warning', onWarning)
  onTestFinished(() => {
    process.off('warning', onWarning)
  })
  const proxy = await startProxy({
    hba: 'host all all 127.0.0.1/32 trust',
    upstream: { host: postgres().host, port: postgres().port, sslmode: 'disable' },
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  for (let session = 0; session < 20; session += 1) {
    const client = await rawClient({ port: proxy.port })
    client.send(startupMessage({ user: postgres().superuser, database: 'postgres' }))
    await client.readUntil('Z')
  }
  await vi.waitFor(() => expect(proxy.server.clientCount).toBe(20))
  expect(warnings.map(({ name }) => name)).toEqual([])
})
