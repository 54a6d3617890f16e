import { mkdtempSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

import { keep } from '../../src/demo/keeper.ts'

export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string
  /** Writes a file. @returns its path. */
  write(name: string, content: string | Uint8Array, mode?: number): Promise<string>
}

/** A directory that is gone when it is disposed of, or when the process ends, however it ends. */
export async function makeTemporaryDirectory(): Promise<TemporaryDirectory> {
  const path = mkdtempSync(join(tmpdir(), 'pgbearer-test-'))
  const kept = keep(path)
  return {
    path,
    write: async (name, content, mode = 0o600) => {
      const file = join(path, name)
      await writeFile(file, content, { mode })
      return file
    },
    [Symbol.asyncDispose]: async () => {
      await kept.end()
    },
  }
}

/** A directory that is gone when the test is over. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const directory = await makeTemporaryDirectory()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  return directory
}
