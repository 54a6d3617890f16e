import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string
  /** Writes a file. @returns its path. */
  write(name: string, content: string | Uint8Array, mode?: number): Promise<string>
}

export async function makeTemporaryDirectory(): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), 'pgbearer-test-'))
  return {
    path,
    write: async (name, content, mode = 0o600) => {
      const file = join(path, name)
      await writeFile(file, content, { mode })
      return file
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** A directory that is gone when the test is over. */
export async function temporaryDirectory(): Promise<TemporaryDirectory> {
  const directory = await makeTemporaryDirectory()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  return directory
}
