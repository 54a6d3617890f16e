/** `keys.persist` where the disk is full: the old keys are not left for the next process. */
import type * as files from 'node:fs/promises'
import { readdir } from 'node:fs/promises'
import { describe, expect, it, vi } from 'vitest'
import jwt from '../../validators/jwt.ts'
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts'
import { AuthorizationServer } from './support/authorization-server.ts'
import { SETTINGS } from './support/jwt-fixture.ts'
import { type Runner, startValidator } from './support/run-validator.ts'

const disk = vi.hoisted(() => ({ isFull: false }))

// No test can fill a disk; everything but the writing is real.
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof files>()
  const open = async (...args: Parameters<typeof real.open>): Promise<files.FileHandle> => {
    const file = await real.open(...args)
    if (disk.isFull && args[1] === 'wx') {
      file.writeFile = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }))
    }
    return file
  }
  return { ...real, open }
})

const start = (
  server: AuthorizationServer,
  directory: TemporaryDirectory,
  prefetch: string,
): Promise<Runner> =>
  startValidator({
    init: jwt,
    settings: { ...SETTINGS, prefetch, keys: { persist: directory.path } },
    issuers: [server.issuer],
  })

describe('saved keys that cannot be replaced', () => {
  it('are removed: one of them may have been withdrawn', async () => {
    await using directory = await makeTemporaryDirectory()
    await using server = await AuthorizationServer.start()
    const old = server.token()
    {
      await using runner = await start(server, directory, 'required')
      expect(await runner.run(old)).toMatchObject({ authorized: true })
      await vi.waitFor(async () => expect(await readdir(directory.path)).toHaveLength(1))
      disk.isFull = true
      server.rotate('k2', { dropOld: true })
      expect(await runner.run(server.token())).toMatchObject({ authorized: true })
      await vi.waitFor(() => {
        expect(runner.lines.join('\n')).toMatch(/cannot save keys .* ENOSPC; there are none now/)
      })
      expect(await readdir(directory.path)).toEqual([])
    }
    server.fail()
    await using runner = await start(server, directory, 'off')
    await expect(runner.run(old)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })
})
